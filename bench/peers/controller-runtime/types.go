package main

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

var (
	groupVersion = schema.GroupVersion{Group: "evc.dev", Version: "v1alpha1"}
	kind         = groupVersion.WithKind("EphemeralVolumeClaim")
)

// EphemeralVolumeClaim is what the benchmarks use of the kind.
type EphemeralVolumeClaim struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   Spec   `json:"spec"`
	Status Status `json:"status,omitempty"`
}

// Spec is what a user asks for.
type Spec struct {
	PodSelector         metav1.LabelSelector `json:"podSelector"`
	VolumeClaimTemplate Template             `json:"volumeClaimTemplate"`
	MinimumWaitSeconds  int64                `json:"minimumWaitSeconds"`
	ExpirySeconds       int64                `json:"expirySeconds"`
	GracePeriodSeconds  int64                `json:"gracePeriodSeconds"`
	Hold                bool                 `json:"hold,omitempty"`
}

// Template is the volume's.
type Template struct {
	Spec corev1.PersistentVolumeClaimSpec `json:"spec"`
}

// Status is what was seen and decided.
type Status struct {
	Conditions    []metav1.Condition `json:"conditions,omitempty"`
	Claim         *ClaimReference    `json:"claim,omitempty"`
	FirstUsedTime *metav1.Time       `json:"firstUsedTime,omitempty"`
	FinishedTime  *metav1.Time       `json:"finishedTime,omitempty"`
	DeletionTime  *metav1.Time       `json:"deletionTime,omitempty"`
	Outcome       string             `json:"outcome,omitempty"`
}

// ClaimReference is the intent to make a claim, or the claim that was made.
type ClaimReference struct {
	Name      string    `json:"name"`
	UID       types.UID `json:"uid,omitempty"`
	RequestID string    `json:"requestId,omitempty"`
}

// EphemeralVolumeClaimList is a list of them.
type EphemeralVolumeClaimList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []EphemeralVolumeClaim `json:"items"`
}

func addToScheme(scheme *runtime.Scheme) {
	scheme.AddKnownTypes(groupVersion, &EphemeralVolumeClaim{}, &EphemeralVolumeClaimList{})
	metav1.AddToGroupVersion(scheme, groupVersion)
}

// DeepCopy copies it with all it refers to.
func (in *EphemeralVolumeClaim) DeepCopy() *EphemeralVolumeClaim {
	out := *in
	in.ObjectMeta.DeepCopyInto(&out.ObjectMeta)
	in.Spec.PodSelector.DeepCopyInto(&out.Spec.PodSelector)
	in.Spec.VolumeClaimTemplate.Spec.DeepCopyInto(&out.Spec.VolumeClaimTemplate.Spec)
	out.Status = in.Status.deepCopy()
	return &out
}

func (in Status) deepCopy() Status {
	out := in
	out.Conditions = append([]metav1.Condition(nil), in.Conditions...)
	out.FirstUsedTime = in.FirstUsedTime.DeepCopy()
	out.FinishedTime = in.FinishedTime.DeepCopy()
	out.DeletionTime = in.DeletionTime.DeepCopy()
	if in.Claim != nil {
		claim := *in.Claim
		out.Claim = &claim
	}
	return out
}

// DeepCopyObject is for runtime.Object.
func (in *EphemeralVolumeClaim) DeepCopyObject() runtime.Object { return in.DeepCopy() }

// DeepCopyObject is for runtime.Object.
func (in *EphemeralVolumeClaimList) DeepCopyObject() runtime.Object {
	out := *in
	out.Items = make([]EphemeralVolumeClaim, len(in.Items))
	for i := range in.Items {
		out.Items[i] = *in.Items[i].DeepCopy()
	}
	return &out
}
