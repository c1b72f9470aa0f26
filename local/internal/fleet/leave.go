package fleet

import (
	"context"
	"log"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/util/retry"

	"modelservice.dev/local/internal/autoscale"
)

const (
	// PreemptedTaint announces the end of a node.
	PreemptedTaint = "localcluster/preempted"

	pause = time.Second
)

// warning is how long before its end a node is told: what was asked for, else
// what the group says.
func (f *Fleet) warning(name, text string) time.Duration {
	if seconds, err := strconv.Atoi(text); err == nil && seconds >= 0 {
		return time.Duration(seconds) * time.Second
	}
	if at := f.find(name); at >= 0 {
		if spot := f.groups[f.members[at].group].Spot; spot != nil {
			return time.Duration(spot.WarningSeconds) * time.Second
		}
	}
	return DefaultWarning
}

// preempt takes a node away after the warning.
func (f *Fleet) preempt(ctx context.Context, name string, warning time.Duration) {
	f.leave(ctx, name, "it is preempted", warning)
}

// leave marks a node and takes it away in the background: it is tainted, its
// pods are evicted until the warning is over, then it is removed whatever runs
// on it.
func (f *Fleet) leave(ctx context.Context, name, why string, warning time.Duration) {
	f.mark(name)
	end := time.Now().Add(warning)
	log.Printf("node %s goes in %s: %s", name, warning, why)
	go func() {
		if warning > 0 {
			f.insist(ctx, "taint "+name, func() error { return f.taint(ctx, name) })
			f.evictUntil(ctx, name, end)
		}
		f.remove(ctx, name)
	}()
}

// retire removes an idle node unless a pod comes to it at the last moment.
func (f *Fleet) retire(ctx context.Context, name string) {
	f.mark(name)
	log.Printf("node %s goes: it was idle for long enough", name)
	go func() {
		f.insist(ctx, "taint "+name, func() error { return f.taint(ctx, name) })
		// The scheduler may have decided before it saw the taint.
		if !wait(ctx, pause) {
			return
		}
		var found []corev1.Pod
		f.insist(ctx, "list the pods of "+name, func() (err error) {
			found, err = f.evictable(ctx, name)
			return err
		})
		if len(found) == 0 {
			f.remove(ctx, name)
			return
		}
		log.Printf("node %s stays: pod %s/%s has come", name, found[0].Namespace, found[0].Name)
		f.insist(ctx, "take the taint off "+name, func() error { return f.untaint(ctx, name) })
		f.ended <- outcome{name: name, stays: true}
	}()
}

// outcome is the end of a node's leaving.
type outcome struct {
	name  string
	stays bool
}

// settle frees what a node that is gone had, or counts on one that stays.
func (f *Fleet) settle(end outcome) {
	at := f.find(end.name)
	switch {
	case at < 0:
	case end.stays:
		f.members[at].leaving = false
		delete(f.leaving, end.name)
	default:
		f.slots[f.members[at].slot] = false
		f.members = slices.Delete(f.members, at, at+1)
	}
}

func (f *Fleet) mark(name string) {
	f.leaving[name] = true
	if at := f.find(name); at >= 0 {
		f.members[at].leaving = true
	}
}

// find returns where the member of that name is, -1 if there is none.
func (f *Fleet) find(name string) int {
	return slices.IndexFunc(f.members, func(m *member) bool { return m.name == name })
}

// remove ends the machine, then its Node. What the API still holds of its pods
// is left to Kubernetes.
func (f *Fleet) remove(ctx context.Context, name string) {
	f.insist(ctx, "stop "+name, func() error { return f.machines.Remove(ctx, name) })
	f.insist(ctx, "delete the Node "+name, func() error {
		return ignoreMissing(f.client.CoreV1().Nodes().Delete(ctx, name, metav1.DeleteOptions{}))
	})
	f.ended <- outcome{name: name}
}

// insist repeats an action until it succeeds or the context ends.
func (f *Fleet) insist(ctx context.Context, what string, action func() error) {
	for {
		err := action()
		if err == nil || ctx.Err() != nil {
			return
		}
		log.Printf("cannot %s, trying again: %v", what, err)
		if !wait(ctx, pause) {
			return
		}
	}
}

func (f *Fleet) taint(ctx context.Context, name string) error {
	return f.changeTaints(ctx, name, func(taints []corev1.Taint) []corev1.Taint {
		return append(taints, corev1.Taint{Key: PreemptedTaint, Effect: corev1.TaintEffectNoSchedule})
	})
}

func (f *Fleet) untaint(ctx context.Context, name string) error {
	return f.changeTaints(ctx, name, func(taints []corev1.Taint) []corev1.Taint { return taints })
}

// changeTaints replaces the taints of a node, less the announcement of its end.
func (f *Fleet) changeTaints(ctx context.Context, name string, change func([]corev1.Taint) []corev1.Taint) error {
	return ignoreMissing(retry.RetryOnConflict(retry.DefaultRetry, func() error {
		node, err := f.client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		announces := func(taint corev1.Taint) bool { return taint.Key == PreemptedTaint }
		node.Spec.Taints = change(slices.DeleteFunc(node.Spec.Taints, announces))
		_, err = f.client.CoreV1().Nodes().Update(ctx, node, metav1.UpdateOptions{})
		return err
	}))
}

// evictUntil evicts the pods of a node, again and again where a disruption
// budget refuses it, until the end.
func (f *Fleet) evictUntil(ctx context.Context, name string, end time.Time) {
	for {
		if err := f.evict(ctx, name); err != nil && ctx.Err() == nil {
			log.Printf("cannot evict the pods of %s, trying again: %v", name, err)
		}
		rest := time.Until(end)
		if !wait(ctx, min(rest, pause)) || rest <= pause {
			return
		}
	}
}

func (f *Fleet) evict(ctx context.Context, name string) error {
	pods, err := f.evictable(ctx, name)
	if err != nil {
		return err
	}
	for _, pod := range pods {
		eviction := &policyv1.Eviction{
			ObjectMeta:    metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name},
			DeleteOptions: &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &pod.UID}},
		}
		err := f.client.CoreV1().Pods(pod.Namespace).EvictV1(ctx, eviction)
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsTooManyRequests(err) && !apierrors.IsConflict(err) {
			return err
		}
	}
	return nil
}

// evictable are the pods of a node that must leave before it goes.
func (f *Fleet) evictable(ctx context.Context, name string) ([]corev1.Pod, error) {
	pods, err := f.client.CoreV1().Pods("").List(ctx, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("spec.nodeName", name).String(),
	})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(pods.Items, func(pod corev1.Pod) bool { return !autoscale.Evictable(&pod) }), nil
}

func ignoreMissing(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// wait returns false if the context ended first.
func wait(ctx context.Context, duration time.Duration) bool {
	timer := time.NewTimer(duration)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
