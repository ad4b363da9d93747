package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

const (
	mark       = "bench.dev/owner-uid"
	hold       = "evc.dev/hold"
	protection = "kubernetes.io/pvc-protection"
	settle     = 10 * time.Second
	workers    = 20

	byClaim    = "claim"
	byLabel    = "label"
	bySelector = "selector"
	byUID      = "uid"
)

var errHeld = errors.New("held")

type reconciler struct {
	client.Client
	live client.Reader
	// The versions that our own writes returned, by uid: what is older in a cache decides nothing.
	written sync.Map
	// The claims that were made, by key: one that the cache does not know yet is not made again.
	made sync.Map
}

func (r *reconciler) setUp(ctx context.Context, manager ctrl.Manager) error {
	index := manager.GetFieldIndexer()
	if err := errors.Join(
		index.IndexField(ctx, &corev1.Pod{}, byClaim, func(object client.Object) []string {
			return claimsOf(object.(*corev1.Pod).Spec.Volumes)
		}),
		index.IndexField(ctx, &corev1.Pod{}, byLabel, func(object client.Object) []string {
			return pairs(object.GetLabels())
		}),
		index.IndexField(ctx, &batchv1.Job{}, byUID, func(object client.Object) []string {
			return []string{string(object.GetUID())}
		}),
		index.IndexField(ctx, &EphemeralVolumeClaim{}, bySelector, func(object client.Object) []string {
			return []string{selected(object.(*EphemeralVolumeClaim))}
		}),
	); err != nil {
		return err
	}
	return ctrl.NewControllerManagedBy(manager).
		For(&EphemeralVolumeClaim{}).
		Watches(&corev1.PersistentVolumeClaim{}, &handler.EnqueueRequestForObject{}).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(r.ofPod)).
		Watches(&batchv1.Job{}, handler.EnqueueRequestsFromMapFunc(r.ofJob)).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers}).
		Complete(r)
}

func (r *reconciler) ofPod(ctx context.Context, object client.Object) []reconcile.Request {
	pod := object.(*corev1.Pod)
	var requests []reconcile.Request
	for _, pair := range pairs(pod.Labels) {
		requests = append(requests, r.among(ctx, pod.Namespace, client.MatchingFields{bySelector: pair})...)
	}
	for _, name := range claimsOf(pod.Spec.Volumes) {
		key := types.NamespacedName{Namespace: pod.Namespace, Name: name}
		requests = append(requests, reconcile.Request{NamespacedName: key})
	}
	return requests
}

func (r *reconciler) ofJob(ctx context.Context, object client.Object) []reconcile.Request {
	return r.among(ctx, object.GetNamespace())
}

func (r *reconciler) among(
	ctx context.Context, namespace string, options ...client.ListOption,
) []reconcile.Request {
	var found EphemeralVolumeClaimList
	options = append(options, client.InNamespace(namespace), client.UnsafeDisableDeepCopy)
	if err := r.List(ctx, &found, options...); err != nil {
		klog.Error(err)
	}
	requests := make([]reconcile.Request, 0, len(found.Items))
	for i := range found.Items {
		key := client.ObjectKeyFromObject(&found.Items[i])
		requests = append(requests, reconcile.Request{NamespacedName: key})
	}
	return requests
}

// Reconcile does the next step.
func (r *reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	key := request.NamespacedName
	evc := &EphemeralVolumeClaim{}
	if err := r.Get(ctx, key, evc); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if evc.DeletionTimestamp != nil || r.behind(evc) {
		return ctrl.Result{}, nil // the watch brings what we wrote ourselves
	}
	claim := &corev1.PersistentVolumeClaim{}
	if err := r.Get(ctx, key, claim); apierrors.IsNotFound(err) {
		claim = nil
	} else if err != nil {
		return ctrl.Result{}, err
	}
	if claim != nil && r.behind(claim) {
		return ctrl.Result{}, nil
	}
	known := evc.Status.Claim
	if reason(evc) == "Releasing" {
		if claim == nil || claim.UID != known.UID {
			return ctrl.Result{}, r.farewell(ctx, evc)
		}
		if claim.DeletionTimestamp != nil {
			return r.release(ctx, evc, claim)
		}
	}
	if known == nil {
		intent := evc.Status.deepCopy()
		intent.Claim = &ClaimReference{Name: evc.Name, RequestID: evc.ResourceVersion}
		if err := r.tell(ctx, evc, "Provisioning", intent); err != nil {
			return ctrl.Result{}, err
		}
		return ctrl.Result{}, r.provision(ctx, evc)
	}
	if claim == nil {
		if _, made := r.made.Load(key); made || evc.Status.FirstUsedTime != nil {
			return ctrl.Result{}, nil
		}
		return ctrl.Result{}, r.provision(ctx, evc)
	}
	if claim.Annotations[mark] != string(evc.UID) {
		return ctrl.Result{}, nil
	}
	return r.follow(ctx, evc, claim)
}

func (r *reconciler) provision(ctx context.Context, evc *EphemeralVolumeClaim) error {
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:       evc.Namespace,
			Name:            evc.Name,
			Annotations:     map[string]string{mark: string(evc.UID)},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(evc, kind)},
		},
		Spec: *evc.Spec.VolumeClaimTemplate.Spec.DeepCopy(),
	}
	if err := r.Create(ctx, claim); err != nil {
		return err
	}
	r.made.Store(client.ObjectKeyFromObject(evc), true)
	r.wrote(claim)
	return nil
}

// follow asks whether the claim is used, held, or over.
func (r *reconciler) follow(
	ctx context.Context, evc *EphemeralVolumeClaim, claim *corev1.PersistentVolumeClaim,
) (ctrl.Result, error) {
	around, err := r.near(ctx, evc)
	if err != nil {
		return ctrl.Result{}, err
	}
	next := evc.Status.deepCopy()
	next.Claim = &ClaimReference{Name: claim.Name, UID: claim.UID}
	var held bool
	var ends []time.Time
	for _, pod := range around {
		holds, err := r.holds(ctx, pod)
		if err != nil {
			return ctrl.Result{}, err
		}
		held = held || holds
		if !designated(pod.Labels, evc) {
			continue
		}
		started, ended := ran(pod)
		if !started.IsZero() && slices.Contains(claimsOf(pod.Spec.Volumes), claim.Name) {
			if evc.Status.FirstUsedTime == nil {
				next.FirstUsedTime = earlier(next.FirstUsedTime, started)
			}
		}
		ends = append(ends, ended...)
	}
	if held {
		next.DeletionTime = nil
		if next.FirstUsedTime == nil {
			return ctrl.Result{}, r.tell(ctx, evc, "Waiting", next)
		}
		return ctrl.Result{}, r.tell(ctx, evc, "InUse", next)
	}
	due := evc.CreationTimestamp.Add(seconds(evc.Spec.ExpirySeconds))
	if next.FirstUsedTime != nil {
		if next.FinishedTime != nil {
			ends = append(ends, next.FinishedTime.Time)
		}
		if len(ends) == 0 {
			ends = append(ends, time.Now().Truncate(time.Second))
		}
		finished := slices.MaxFunc(ends, time.Time.Compare)
		next.FinishedTime = &metav1.Time{Time: finished}
		due = finished.Add(seconds(evc.Spec.GracePeriodSeconds))
		if least := evc.CreationTimestamp.Add(seconds(evc.Spec.MinimumWaitSeconds)); due.Before(least) {
			due = least
		}
	}
	next.DeletionTime = &metav1.Time{Time: due}
	if wait := time.Until(due); wait > 0 {
		state := "Waiting"
		if next.FirstUsedTime != nil {
			state = "Draining"
		}
		return ctrl.Result{RequeueAfter: wait}, r.tell(ctx, evc, state, next)
	}
	return r.delete(ctx, client.ObjectKeyFromObject(evc), next)
}

// delete looks live, decides durably, and deletes exactly that.
func (r *reconciler) delete(
	ctx context.Context, key client.ObjectKey, next Status,
) (ctrl.Result, error) {
	evc, claim, err := r.look(ctx, key)
	if errors.Is(err, errHeld) {
		return ctrl.Result{RequeueAfter: time.Second}, nil
	} else if err != nil {
		return ctrl.Result{}, err
	}
	_, kept := claim.Annotations[hold]
	if claim.Annotations[mark] != string(evc.UID) || evc.Spec.Hold || kept {
		return ctrl.Result{}, nil
	}
	next.Outcome = "Succeeded"
	if err := r.tell(ctx, evc, "Releasing", next); err != nil {
		return ctrl.Result{}, err
	}
	if err := r.Delete(ctx, claim, exactly(claim)); err != nil {
		return ctrl.Result{}, err
	}
	r.written.Store(claim.UID, version(claim)+1) // any later one shows that it was deleted
	go r.record(context.WithoutCancel(ctx), evc) // nobody waits for it
	return ctrl.Result{RequeueAfter: settle}, nil
}

func (r *reconciler) record(ctx context.Context, evc *EphemeralVolumeClaim) {
	event := &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: evc.Namespace,
			Name:      fmt.Sprintf("%s.%x", evc.Name, time.Now().UnixNano()),
		},
		EventTime:           metav1.NowMicro(),
		ReportingController: "bench.dev/go",
		ReportingInstance:   "go",
		Type:                corev1.EventTypeNormal,
		Reason:              "Deleting",
		Action:              "Delete",
		Note:                "deleting PersistentVolumeClaim " + evc.Name,
		Regarding: corev1.ObjectReference{
			APIVersion: groupVersion.String(),
			Kind:       kind.Kind,
			Namespace:  evc.Namespace,
			Name:       evc.Name,
			UID:        evc.UID,
		},
	}
	if err := r.Create(ctx, event); err != nil {
		klog.Error(err)
	}
}

// look reads the claim, its object, and that no pod or Job that is not over needs it.
func (r *reconciler) look(
	ctx context.Context, key client.ObjectKey,
) (*EphemeralVolumeClaim, *corev1.PersistentVolumeClaim, error) {
	evc, claim := &EphemeralVolumeClaim{}, &corev1.PersistentVolumeClaim{}
	var pods corev1.PodList
	var jobs batchv1.JobList
	unfinished := client.MatchingFieldsSelector{Selector: fields.AndSelectors(
		fields.OneTermNotEqualSelector("status.phase", string(corev1.PodSucceeded)),
		fields.OneTermNotEqualSelector("status.phase", string(corev1.PodFailed)),
	)}
	reads, ctx := errgroup.WithContext(ctx)
	reads.Go(func() error { return r.live.Get(ctx, key, claim) })
	reads.Go(func() error { return r.live.Get(ctx, key, evc) })
	reads.Go(func() error { return r.live.List(ctx, &pods, client.InNamespace(key.Namespace), unfinished) })
	reads.Go(func() error { return r.live.List(ctx, &jobs, client.InNamespace(key.Namespace)) })
	if err := reads.Wait(); err != nil {
		return nil, nil, err
	}
	needs := func(labels map[string]string, volumes []corev1.Volume) bool {
		return designated(labels, evc) || slices.Contains(claimsOf(volumes), key.Name)
	}
	for i := range pods.Items {
		if needs(pods.Items[i].Labels, pods.Items[i].Spec.Volumes) {
			return nil, nil, errHeld
		}
	}
	for i := range jobs.Items {
		template := jobs.Items[i].Spec.Template
		if !over(&jobs.Items[i]) && needs(template.Labels, template.Spec.Volumes) {
			return nil, nil, errHeld
		}
	}
	return evc, claim, nil
}

// release takes pvc-protection off once nothing can have the volume mounted.
func (r *reconciler) release(
	ctx context.Context, evc *EphemeralVolumeClaim, claim *corev1.PersistentVolumeClaim,
) (ctrl.Result, error) {
	if !slices.Contains(claim.Finalizers, protection) {
		return ctrl.Result{}, nil
	}
	around, err := r.near(ctx, evc)
	if err != nil {
		return ctrl.Result{}, err
	}
	last := claim.DeletionTimestamp.Time
	for _, pod := range around {
		_, ended := ran(pod)
		last = slices.MaxFunc(append(ended, last), time.Time.Compare)
	}
	if wait := time.Until(last.Add(settle)); wait > 0 {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	_, claim, err = r.look(ctx, client.ObjectKeyFromObject(evc))
	if errors.Is(err, errHeld) {
		return ctrl.Result{RequeueAfter: time.Second}, nil
	} else if err != nil {
		return ctrl.Result{}, err
	}
	if attached, err := r.attached(ctx, claim); err != nil || attached {
		return ctrl.Result{RequeueAfter: 5 * time.Second}, err
	}
	at := fmt.Sprintf("/metadata/finalizers/%d", slices.Index(claim.Finalizers, protection))
	patch, err := json.Marshal([]map[string]string{
		{"op": "test", "path": "/metadata/uid", "value": string(claim.UID)},
		{"op": "test", "path": "/metadata/resourceVersion", "value": claim.ResourceVersion},
		{"op": "test", "path": at, "value": protection},
		{"op": "remove", "path": at},
	})
	if err != nil {
		return ctrl.Result{}, err
	}
	if err := r.Patch(ctx, claim, client.RawPatch(types.JSONPatchType, patch)); err != nil {
		return ctrl.Result{}, err
	}
	r.wrote(claim)
	return ctrl.Result{}, nil
}

func (r *reconciler) attached(
	ctx context.Context, claim *corev1.PersistentVolumeClaim,
) (bool, error) {
	if claim.Spec.VolumeName == "" {
		return false, nil
	}
	var attachments storagev1.VolumeAttachmentList
	if err := r.live.List(ctx, &attachments); err != nil {
		return false, err
	}
	return slices.ContainsFunc(attachments.Items, func(item storagev1.VolumeAttachment) bool {
		name := item.Spec.Source.PersistentVolumeName
		return name != nil && *name == claim.Spec.VolumeName
	}), nil
}

// farewell deletes the record when the claim is gone.
func (r *reconciler) farewell(ctx context.Context, evc *EphemeralVolumeClaim) error {
	key := client.ObjectKeyFromObject(evc)
	err := r.live.Get(ctx, key, &corev1.PersistentVolumeClaim{})
	if !apierrors.IsNotFound(err) {
		return err
	}
	if err := r.Delete(ctx, evc, exactly(evc)); err != nil {
		return client.IgnoreNotFound(err)
	}
	r.made.Delete(key)
	r.written.Delete(evc.UID)
	r.written.Delete(evc.Status.Claim.UID)
	return nil
}

// tell writes the status, if it says anything new, under the version that was read.
func (r *reconciler) tell(
	ctx context.Context, evc *EphemeralVolumeClaim, state string, next Status,
) error {
	if reason(evc) == state && equality.Semantic.DeepEqual(evc.Status, next) {
		return nil
	}
	now := metav1.Now()
	used := state == "InUse" || state == "Draining" || state == "Releasing"
	started := "NoPodStarted"
	if used {
		started = "PodStarted"
	}
	for _, told := range []metav1.Condition{
		{
			Type:    "Ready",
			Status:  status(state == "Waiting" || state == "InUse" || state == "Draining"),
			Reason:  state,
			Message: fmt.Sprintf("%s since %s", state, now.UTC().Format(time.RFC3339)),
		},
		{Type: "Used", Status: status(used), Reason: started},
		{Type: "Finished", Status: status(false), Reason: "NotFinished"},
		{Type: "Reconciling", Status: status(state == "Provisioning" || state == "Releasing"), Reason: state},
		{Type: "Stalled", Status: status(false), Reason: state},
	} {
		told.ObservedGeneration = evc.Generation
		meta.SetStatusCondition(&next.Conditions, told)
	}
	evc.Status = next
	if err := r.Status().Update(ctx, evc); err != nil {
		return err
	}
	r.wrote(evc)
	return nil
}

func (r *reconciler) wrote(object client.Object) {
	r.written.Store(object.GetUID(), version(object))
}

func (r *reconciler) behind(object client.Object) bool {
	written, ok := r.written.Load(object.GetUID())
	return ok && version(object) < written.(uint64)
}

func (r *reconciler) near(ctx context.Context, evc *EphemeralVolumeClaim) ([]*corev1.Pod, error) {
	found := map[string]*corev1.Pod{}
	for index, value := range map[string]string{byClaim: evc.Name, byLabel: selected(evc)} {
		var pods corev1.PodList
		where := client.MatchingFields{index: value}
		if err := r.List(ctx, &pods, client.InNamespace(evc.Namespace), where); err != nil {
			return nil, err
		}
		for i := range pods.Items {
			pod := &pods.Items[i]
			if index == byClaim || designated(pod.Labels, evc) {
				found[pod.Name] = pod
			}
		}
	}
	around := make([]*corev1.Pod, 0, len(found))
	for _, pod := range found {
		around = append(around, pod)
	}
	return around, nil
}

func (r *reconciler) holds(ctx context.Context, pod *corev1.Pod) (bool, error) {
	if pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed {
		return true, nil
	}
	for _, owner := range pod.OwnerReferences {
		if owner.Kind != "Job" {
			continue
		}
		var jobs batchv1.JobList
		where := client.MatchingFields{byUID: string(owner.UID)}
		if err := r.List(ctx, &jobs, client.InNamespace(pod.Namespace), where); err != nil {
			return true, err
		}
		for i := range jobs.Items {
			if !over(&jobs.Items[i]) {
				return true, nil
			}
		}
	}
	return false, nil
}

func exactly(object client.Object) client.Preconditions {
	uid, version := object.GetUID(), object.GetResourceVersion()
	return client.Preconditions{UID: &uid, ResourceVersion: &version}
}

func version(object client.Object) uint64 {
	number, _ := strconv.ParseUint(object.GetResourceVersion(), 10, 64)
	return number
}

func reason(evc *EphemeralVolumeClaim) string {
	if ready := meta.FindStatusCondition(evc.Status.Conditions, "Ready"); ready != nil {
		return ready.Reason
	}
	return ""
}

func selected(evc *EphemeralVolumeClaim) string {
	return pairs(evc.Spec.PodSelector.MatchLabels)[0]
}

func designated(of map[string]string, evc *EphemeralVolumeClaim) bool {
	return labels.SelectorFromSet(evc.Spec.PodSelector.MatchLabels).Matches(labels.Set(of))
}

func pairs(of map[string]string) []string {
	found := make([]string, 0, len(of))
	for name, value := range of {
		found = append(found, name+"="+value)
	}
	return found
}

func claimsOf(volumes []corev1.Volume) []string {
	var names []string
	for i := range volumes {
		if source := volumes[i].PersistentVolumeClaim; source != nil {
			names = append(names, source.ClaimName)
		}
	}
	return names
}

// ran returns when its first container started (zero: none has) and when each of them ended.
func ran(pod *corev1.Pod) (started time.Time, ends []time.Time) {
	note := func(at metav1.Time) {
		if !at.IsZero() && (started.IsZero() || at.Time.Before(started)) {
			started = at.Time
		}
	}
	for _, container := range slices.Concat(pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses) {
		if running := container.State.Running; running != nil {
			note(running.StartedAt)
		}
		if terminated := container.State.Terminated; terminated != nil {
			note(terminated.StartedAt)
			if !terminated.FinishedAt.IsZero() {
				ends = append(ends, terminated.FinishedAt.Time)
			}
		}
	}
	return started, ends
}

func over(job *batchv1.Job) bool {
	return slices.ContainsFunc(job.Status.Conditions, func(told batchv1.JobCondition) bool {
		ended := told.Type == batchv1.JobComplete || told.Type == batchv1.JobFailed
		return ended && told.Status == corev1.ConditionTrue
	})
}

func earlier(known *metav1.Time, at time.Time) *metav1.Time {
	if known != nil && !at.Before(known.Time) {
		return known
	}
	return &metav1.Time{Time: at}
}

func status(is bool) metav1.ConditionStatus {
	if is {
		return metav1.ConditionTrue
	}
	return metav1.ConditionFalse
}

func seconds(number int64) time.Duration { return time.Duration(number) * time.Second }
