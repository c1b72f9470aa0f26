package cluster

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"modelservice.dev/local/internal/layout"
	"modelservice.dev/local/internal/storage"
)

func TestTheManifestsAgreeWithTheAddressesOfTheProgram(t *testing.T) {
	objects, err := parse(manifests)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, object := range objects {
		switch object.GetKind() {
		case "StorageClass":
			found["provisioner"], _, _ = unstructured.NestedString(object.Object, "provisioner")
		case "Service":
			found["service"], _, _ = unstructured.NestedString(object.Object, "spec", "clusterIP")
		case "EndpointSlice":
			endpoints, _, _ := unstructured.NestedSlice(object.Object, "endpoints")
			addresses, _, _ := unstructured.NestedStringSlice(endpoints[0].(map[string]any), "addresses")
			found["endpoint"] = addresses[0]
		}
	}
	for name, want := range map[string]string{
		"provisioner": storage.Provisioner,
		"service":     layout.DNSServiceIP,
		"endpoint":    layout.DNSIP,
	} {
		if found[name] != want {
			t.Errorf("%s is %q, want %q", name, found[name], want)
		}
	}
}

func TestAwaitRepeatsACheckUntilItSucceeds(t *testing.T) {
	tries := 0
	err := Await(t.Context(), func(context.Context) error {
		if tries++; tries < 3 {
			return errors.New("not yet")
		}
		return nil
	})
	if err != nil || tries != 3 {
		t.Errorf("%d tries, %v", tries, err)
	}
}

func TestAwaitGivesUpAtOnceWhenThereIsNoHope(t *testing.T) {
	tries := 0
	err := Await(t.Context(), func(context.Context) error {
		tries++
		return ErrHopeless
	})
	if !errors.Is(err, ErrHopeless) || tries != 1 {
		t.Errorf("%d tries, %v", tries, err)
	}
}

func TestAwaitSaysWhatWasMissingBeforeTheDeadline(t *testing.T) {
	missing := errors.New("node a is missing")
	ctx, cancel := context.WithCancel(t.Context())
	tries := 0
	err := Await(ctx, func(ctx context.Context) error {
		if tries++; tries == 1 {
			return missing
		}
		cancel()
		return ctx.Err()
	})
	if !errors.Is(err, missing) {
		t.Errorf("the error is %v", err)
	}
}

func TestOnlyStatus200CountsAsServing(t *testing.T) {
	status := http.StatusServiceUnavailable
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	defer server.Close()
	check := Serves(server.URL)
	if err := check(t.Context()); err == nil {
		t.Error("503 counts as serving")
	}
	status = http.StatusOK
	if err := check(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestANodeIsReadyOnlyIfItSaidSoAfterTheStart(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 600, time.UTC)
	node := func(status corev1.ConditionStatus, heartbeat time.Time) corev1.Node {
		condition := corev1.NodeCondition{Type: corev1.NodeReady, Status: status, LastHeartbeatTime: metav1.NewTime(heartbeat)}
		return corev1.Node{Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{condition}}}
	}
	cases := map[string]struct {
		node corev1.Node
		want bool
	}{
		"ready now":                {node(corev1.ConditionTrue, start.Add(time.Second)), true},
		"ready in the same second": {node(corev1.ConditionTrue, start.Truncate(time.Second)), true},
		"ready in an earlier run":  {node(corev1.ConditionTrue, start.Add(-time.Second)), false},
		"not ready":                {node(corev1.ConditionFalse, start.Add(time.Second)), false},
		"silent":                   {corev1.Node{}, false},
	}
	for name, c := range cases {
		if got := isReady(c.node, start); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
