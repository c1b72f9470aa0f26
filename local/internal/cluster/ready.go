package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"modelservice.dev/local/internal/layout"
)

const pollInterval = 50 * time.Millisecond

// Check reports whether something is ready. Its error says what is missing.
type Check func(ctx context.Context) error

// ErrHopeless in a check's error says that waiting longer will not help.
var ErrHopeless = errors.New("it will not come back by itself")

// Await repeats a check until it succeeds or is hopeless. When the context ends
// first, it returns what the check missed before.
func Await(ctx context.Context, check Check) error {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	missing := ctx.Err()
	for {
		err := check(ctx)
		if err == nil || errors.Is(err, ErrHopeless) {
			return err
		}
		if ctx.Err() == nil || missing == nil {
			missing = err
		}
		select {
		case <-ctx.Done():
			return missing
		case <-ticker.C:
		}
	}
}

// Serves checks that a GET of the URL answers 200. Certificates are not
// verified: it is for health checks over the loopback device.
func Serves(url string) Check {
	client := &http.Client{
		Timeout:   time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true},
	}
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("%s answers %s", url, response.Status)
		}
		return nil
	}
}

// APIReady checks that the API server has finished its start.
func APIReady(client kubernetes.Interface) Check {
	return func(ctx context.Context) error {
		return client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	}
}

// ControllersWork checks that the controller manager made the account that
// every pod of the default namespace needs.
func ControllersWork(client kubernetes.Interface) Check {
	return func(ctx context.Context) error {
		_, err := client.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
		return err
	}
}

// DNSAnswers checks that CoreDNS resolves the API server's Service.
func DNSAnswers() Check {
	resolver := &net.Resolver{
		PreferGo: true,
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, network, net.JoinHostPort(layout.DNSIP, "53"))
		},
	}
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err := resolver.LookupHost(ctx, "kubernetes.default.svc."+layout.ClusterDomain+".")
		return err
	}
}

// NodesReady checks that each named node has reported itself ready after since.
func NodesReady(client kubernetes.Interface, names []string, since time.Time) Check {
	return func(ctx context.Context) error {
		nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		ready := map[string]bool{}
		for _, node := range nodes.Items {
			ready[node.Name] = isReady(node, since)
		}
		var missing []string
		for _, name := range names {
			if !ready[name] {
				missing = append(missing, name)
			}
		}
		if len(missing) > 0 {
			return fmt.Errorf("not ready: %s", strings.Join(missing, ", "))
		}
		return nil
	}
}

func isReady(node corev1.Node, since time.Time) bool {
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			// Heartbeats are stored in whole seconds.
			return condition.Status == corev1.ConditionTrue &&
				!condition.LastHeartbeatTime.Time.Before(since.Truncate(time.Second))
		}
	}
	return false
}
