// Package storage provisions persistent volumes as directories.
package storage

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	storagelisters "k8s.io/client-go/listers/storage/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
)

// Provisioner is the name that a StorageClass gives to be served from here.
const Provisioner = "localcluster/directory"

const (
	provisionedBy = "pv.kubernetes.io/provisioned-by"
	firstRetry    = 100 * time.Millisecond
	lastRetry     = 30 * time.Second
)

// key names a claim, or a volume if the namespace is empty.
type key struct{ namespace, name string }

// Controller makes a directory and a volume for each claim, and removes both
// when the claim is gone and the volume's reclaim policy is Delete.
type Controller struct {
	client  kubernetes.Interface
	root    string
	queue   workqueue.TypedRateLimitingInterface[key]
	claims  corelisters.PersistentVolumeClaimLister
	volumes corelisters.PersistentVolumeLister
	classes storagelisters.StorageClassLister
	events  record.EventRecorder
}

// Run serves claims with directories below root until the context ends.
func Run(ctx context.Context, client kubernetes.Interface, root string) error {
	factory := informers.NewSharedInformerFactory(client, 0)
	claims := factory.Core().V1().PersistentVolumeClaims()
	volumes := factory.Core().V1().PersistentVolumes()
	classes := factory.Storage().V1().StorageClasses()
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: client.CoreV1().Events("")})
	controller := &Controller{
		client: client,
		root:   root,
		queue: workqueue.NewTypedRateLimitingQueue(
			workqueue.NewTypedItemExponentialFailureRateLimiter[key](firstRetry, lastRetry)),
		claims:  claims.Lister(),
		volumes: volumes.Lister(),
		classes: classes.Lister(),
		events:  broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: Provisioner}),
	}
	for _, informer := range []cache.SharedIndexInformer{claims.Informer(), volumes.Informer()} {
		if _, err := informer.AddEventHandler(controller.enqueueChanges()); err != nil {
			return err
		}
	}
	classes.Informer()
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	stop := context.AfterFunc(ctx, controller.queue.ShutDown)
	defer stop()
	for controller.work(ctx) {
	}
	return nil
}

func (c *Controller) enqueueChanges() cache.ResourceEventHandler {
	enqueue := func(object any) {
		if accessor, ok := object.(metav1.Object); ok {
			c.queue.Add(key{accessor.GetNamespace(), accessor.GetName()})
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    enqueue,
		UpdateFunc: func(_, object any) { enqueue(object) },
	}
}

func (c *Controller) work(ctx context.Context) bool {
	item, shutdown := c.queue.Get()
	if shutdown {
		return false
	}
	defer c.queue.Done(item)
	var err error
	if item.namespace == "" {
		err = c.reclaim(ctx, item.name)
	} else {
		err = c.provision(ctx, item.namespace, item.name)
	}
	if err != nil && ctx.Err() == nil {
		log.Printf("storage: %s/%s: %v", item.namespace, item.name, err)
		c.queue.AddRateLimited(item)
		return true
	}
	c.queue.Forget(item)
	return true
}

func (c *Controller) provision(ctx context.Context, namespace, name string) error {
	claim, err := c.claims.PersistentVolumeClaims(namespace).Get(name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if claim.Spec.VolumeName != "" || claim.Spec.StorageClassName == nil || claim.DeletionTimestamp != nil {
		return nil
	}
	class, err := c.classes.Get(*claim.Spec.StorageClassName)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if class.Provisioner != Provisioner {
		return nil
	}
	if err := check(claim); err != nil {
		c.events.Event(claim, corev1.EventTypeWarning, "ProvisioningFailed", err.Error())
		return nil
	}
	volume := c.volumeFor(claim, class.Name, *class.ReclaimPolicy)
	path := volume.Spec.HostPath.Path
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	// Any user of a pod may write, whatever the umask says: a process has no
	// group that could be set on the directory.
	if err := os.Chmod(path, 0o777); err != nil {
		return err
	}
	_, err = c.client.CoreV1().PersistentVolumes().Create(ctx, volume, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

func check(claim *corev1.PersistentVolumeClaim) error {
	switch {
	case claim.Spec.VolumeMode != nil && *claim.Spec.VolumeMode == corev1.PersistentVolumeBlock:
		return errors.New("directories cannot serve the volume mode Block")
	case claim.Spec.Selector != nil:
		return errors.New("a claim with a selector cannot be provisioned")
	case claim.Spec.DataSource != nil || claim.Spec.DataSourceRef != nil:
		return errors.New("a claim with a data source cannot be provisioned")
	}
	return nil
}

func (c *Controller) volumeFor(
	claim *corev1.PersistentVolumeClaim, class string, policy corev1.PersistentVolumeReclaimPolicy,
) *corev1.PersistentVolume {
	directory := fmt.Sprintf("%s-%.100s-%s", claim.Namespace, claim.Name, claim.UID)
	kind := corev1.HostPathDirectory
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{
			Name:        "pvc-" + string(claim.UID),
			Annotations: map[string]string{provisionedBy: Provisioner},
		},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:                      claim.Spec.Resources.Requests,
			AccessModes:                   claim.Spec.AccessModes,
			StorageClassName:              class,
			PersistentVolumeReclaimPolicy: policy,
			VolumeMode:                    claim.Spec.VolumeMode,
			ClaimRef: &corev1.ObjectReference{
				APIVersion: "v1", Kind: "PersistentVolumeClaim",
				Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID,
			},
			PersistentVolumeSource: corev1.PersistentVolumeSource{
				HostPath: &corev1.HostPathVolumeSource{Path: filepath.Join(c.root, directory), Type: &kind},
			},
		},
	}
}

func (c *Controller) reclaim(ctx context.Context, name string) error {
	volume, err := c.volumes.Get(name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if volume.Annotations[provisionedBy] != Provisioner ||
		volume.Status.Phase != corev1.VolumeReleased ||
		volume.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimDelete ||
		volume.Spec.HostPath == nil {
		return nil
	}
	path := filepath.Clean(volume.Spec.HostPath.Path)
	if !strings.HasPrefix(path, c.root+string(filepath.Separator)) {
		return fmt.Errorf("%s is not below %s and stays", path, c.root)
	}
	if err := os.RemoveAll(path); err != nil {
		return err
	}
	precondition := metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &volume.UID}}
	err = c.client.CoreV1().PersistentVolumes().Delete(ctx, name, precondition)
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
