// The same lifecycle in Go on controller-runtime: the peer that says what Python costs.
//
// It does what kopf_evc.py does, request for request (its docstring says what that is, and what of
// ours is left out), as fast as controller-runtime lets it: typed clients, protobuf for built-in
// kinds, caches trimmed to what is used and read without copies, no client-side limit, twenty
// workers, its priority queue, no metrics.
package main

import (
	"fmt"
	"os"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

func main() {
	ctrl.SetLogger(klog.Background())
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return err
	}
	addToScheme(scheme)
	config, err := ctrl.GetConfig() // of $KUBECONFIG
	if err != nil {
		return err
	}
	config.QPS = -1
	shared := true
	manager, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:  scheme,
		Metrics: metricsserver.Options{BindAddress: "0"},
		Cache: cache.Options{
			DefaultTransform: cache.TransformStripManagedFields(),
			ByObject: map[client.Object]cache.ByObject{
				&corev1.Pod{}:  {Transform: trimPod, UnsafeDisableDeepCopy: &shared},
				&batchv1.Job{}: {Transform: trimJob, UnsafeDisableDeepCopy: &shared},
			},
		},
	})
	if err != nil {
		return err
	}
	ctx := ctrl.SetupSignalHandler()
	r := &reconciler{Client: manager.GetClient(), live: manager.GetAPIReader()}
	if err := r.setUp(ctx, manager); err != nil {
		return err
	}
	go func() {
		if manager.GetCache().WaitForCacheSync(ctx) {
			fmt.Println("READY")
		}
	}()
	return manager.Start(ctx)
}

func trimMeta(meta *metav1.ObjectMeta) {
	meta.ManagedFields, meta.Annotations = nil, nil
}

// trimPod keeps what a decision needs of a pod.
func trimPod(object any) (any, error) {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return object, nil
	}
	trimMeta(&pod.ObjectMeta)
	pod.Spec = corev1.PodSpec{Volumes: pod.Spec.Volumes}
	pod.Status = corev1.PodStatus{
		Phase:                 pod.Status.Phase,
		ContainerStatuses:     pod.Status.ContainerStatuses,
		InitContainerStatuses: pod.Status.InitContainerStatuses,
	}
	return pod, nil
}

// trimJob keeps whether it is over.
func trimJob(object any) (any, error) {
	job, ok := object.(*batchv1.Job)
	if !ok {
		return object, nil
	}
	trimMeta(&job.ObjectMeta)
	job.Spec = batchv1.JobSpec{}
	job.Status = batchv1.JobStatus{Conditions: job.Status.Conditions}
	return job, nil
}
