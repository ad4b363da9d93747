"""What every API object has: identity, metadata, conditions, pages and watch events."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Generic, NamedTuple, Protocol, TypeVar

import msgspec

Time = Annotated[datetime, msgspec.Meta(tz=True)]
"""metav1.Time: RFC 3339 with a zone; the API server writes UTC."""


class Key(NamedTuple):
    """Names one object of a known kind; what informers enqueue and workers take."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Record(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, gc=False):
    """Base of all API values: immutable, camelCase on the wire, defaults left out.

    ``gc=False``: decoded JSON cannot contain itself, so the cyclic garbage collector need
    not walk it.  That is most of what a full cache holds, and saves 16 bytes a value.
    """


class OwnerReference(Record, frozen=True):
    """metav1.OwnerReference; ``controller`` marks the one owner that manages the object."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool = False
    block_owner_deletion: bool = False


class Meta(Record, frozen=True):
    """The part of metav1.ObjectMeta that pods and Jobs are known by; times are UTC.

    Without annotations: on pods they hold whatever a network or a mesh wrote there, often
    several kB, and nothing is decided by them.
    """

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    labels: dict[str, str] = {}
    owner_references: tuple[OwnerReference, ...] = ()

    @property
    def key(self) -> Key:
        """The namespace and name."""
        return Key(self.namespace, self.name)

    @property
    def deleting(self) -> bool:
        """Whether a DELETE was accepted; finalizers may keep the object for a while."""
        return self.deletion_timestamp is not None


class GeneratedMeta(Meta, frozen=True):
    """The same, and which generation of the spec it is: what workloads are known by."""

    generation: int = 0


class ObjectMeta(GeneratedMeta, frozen=True):
    """metav1.ObjectMeta without managedFields; the API server sets the times."""

    annotations: dict[str, str] = {}
    finalizers: tuple[str, ...] = ()


class Object(Protocol):
    """Anything with metadata: what stores keep and informers carry."""

    @property
    def metadata(self) -> Meta:
        """Name, version and so on."""


T = TypeVar("T", bound=Object)


class Condition(Record, frozen=True):
    """metav1.Condition; ``last_transition_time`` moves only when ``status`` does."""

    type: str
    status: str
    reason: str
    message: str
    last_transition_time: Time
    observed_generation: int = 0


class Page(msgspec.Struct, Generic[T], frozen=True):
    """One page of a LIST.

    ``resource_version`` is the revision of the whole list; ``continue_token``
    is empty on the last page, so an object missing from a page that has one
    is not missing from the cluster.  ``time`` is the server's clock when it answered, in
    whole seconds (the Date header); None if it did not say.
    """

    items: tuple[T, ...]
    resource_version: str
    continue_token: str = ""
    time: datetime | None = None


class WatchEvent(msgspec.Struct, Generic[T], frozen=True):
    """One line of a watch.

    ``type`` is ADDED, MODIFIED, DELETED or BOOKMARK.  A bookmark has no
    ``object``, only a ``resource_version`` up to which everything was sent;
    ``initial_events_end`` marks the one that closes a streamed list (KEP-3157).
    """

    type: str
    resource_version: str
    object: T | None = None
    initial_events_end: bool = False
