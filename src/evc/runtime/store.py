"""A cache of one resource type: many readers, and one writer that is its reflector.

Promises (each has a test of its name in ``test/unit/runtime/test_store.py``):

1.  *A reader never sees a half-replaced cache*: a new list is built aside and swapped in.
2.  *A newer object is never overwritten by an older one* of the same name.
3.  *The revision never goes back*, and it follows bookmarks as well as objects.
4.  *A recreated object is one change*: same name, other uid, gives ``(old, new)``.
5.  *An object is found under its present index values only.*
6.  *Empty index buckets are freed*: label values that come and go do not leak.
7.  *What did not change is not announced*: a relist yields its differences only.
8.  *Synced only when the writer says so*, after the first list was announced: handlers
    see ``synced`` false while they are told of what was there before the start.
9.  *A store has one writer*; asking for a second one fails.
10. *A failed index function changes nothing.*

Our own writes count as seen when `Store.has_seen` says so (KEP-5647); that rests on
resourceVersions of one resource type being comparable as integers (KEP-5504).
"""

from __future__ import annotations

import builtins
import threading
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Generic, TypeAlias

from evc.model.meta import Key, T

Indexers: TypeAlias = Mapping[str, Callable[[T], Iterable[Hashable]]]
Change: TypeAlias = tuple[T | None, T | None]
# Of the values that objects are found by, most have one or two (a Job's uid), some have
# thousands (app=web).  A tuple takes a fifth of a small dict's memory: 4 of 30 MB with
# 10,000 pods by label; a dict takes one out of thousands at once.
_Bucket: TypeAlias = tuple[T, ...] | dict[Key, T]
_Index: TypeAlias = dict[Hashable, _Bucket[T]]
_FEW = 8


def revision(resource_version: str) -> int:
    """Return a resourceVersion as the integer by which it compares (KEP-5504).

    Raises ValueError for anything but decimal digits; such a version says nothing.
    """
    if not resource_version.isdecimal():
        raise ValueError(f"not a resourceVersion: {resource_version!r}")
    return int(resource_version)


class Store(Generic[T]):
    """The read side; every method may be called from any thread.

    Objects are immutable and shared.  Lists are the caller's own, in the order in
    which the objects were first seen.
    """

    def __init__(self, indexers: Indexers[T]) -> None:
        """``indexers`` name total functions from an object to the values it is found by."""
        self._indexers = dict(indexers)
        self._lock = threading.Lock()
        self._items: dict[Key, T] = {}
        self._indices: dict[str, _Index[T]] = {name: {} for name in self._indexers}
        self._revision = 0
        self._synced = threading.Event()
        self._has_writer = False
        self.error: Exception | None = None
        """Why the cache does not follow the server at present, said by its reflector."""

    def get(self, key: Key) -> T | None:
        """Return the object of that name, None if there is none."""
        with self._lock:
            return self._items.get(key)

    def list(self) -> builtins.list[T]:
        """Return every object."""
        with self._lock:
            return [*self._items.values()]

    def by_index(self, index: str, value: Hashable) -> builtins.list[T]:
        """Return the objects which ``index`` files under ``value``; KeyError: no such index."""
        with self._lock:
            return _members(self._indices[index].get(value, ()))

    def by_rarest(self, index: str, values: Iterable[Hashable]) -> builtins.list[T]:
        """Return the objects filed under that one of ``values`` which has the fewest."""
        with self._lock:
            filed = self._indices[index]
            return _members(min((filed.get(value, ()) for value in values), key=len))

    def keys(self) -> builtins.list[Key]:
        """Return the names of every object."""
        with self._lock:
            return [*self._items]

    def __len__(self) -> int:
        """Return how many objects there are."""
        with self._lock:
            return len(self._items)

    @property
    def synced(self) -> bool:
        """Whether one complete list is in and was announced; stays true."""
        return self._synced.is_set()

    def wait_synced(self, timeout: float) -> bool:
        """Wait until synced, at most ``timeout`` seconds; return whether it is."""
        return self._synced.wait(timeout)

    @property
    def resource_version(self) -> str:
        """The revision up to which the cache is complete; empty before the first list."""
        with self._lock:
            return str(self._revision) if self._revision else ""

    def has_seen(self, resource_version: str) -> bool:
        """Whether the cache shows the state of that revision or a later one.

        Ask with the resourceVersion that a write returned: until this is true, the
        cache is older than our own write and no decision may rest on it.
        """
        wanted = revision(resource_version)
        with self._lock:
            return self._revision >= wanted


class Writer(Generic[T]):
    """The write side, held by the one reflector that fills the store; one thread only.

    Reading the store's own fields without its lock is safe here: nobody else writes
    them.  Every assignment that readers can notice is made under the lock.
    """

    def __init__(self, store: Store[T]) -> None:
        """Claim the store; RuntimeError if it already has a writer."""
        if store._has_writer:
            raise RuntimeError("a store has one writer")
        store._has_writer = True
        self._store = store

    def known(self, new: T) -> T:
        """Return the cached object if ``new`` is another copy of it, else ``new``.

        A list under way that keeps what this returns needs no second copy of the cache.
        """
        old = self._store._items.get(new.metadata.key)
        return old if old is not None and _same(old, new) else new

    def replace(self, objects: Iterable[T], resource_version: str) -> list[Change[T]]:
        """Make ``objects``, complete at that revision, the cache; return the differences.

        The caller has checked that the list is no older than the cache.
        """
        store, seen = self._store, revision(resource_version)
        items: dict[Key, T] = {}
        for new in objects:
            key = new.metadata.key
            items[key] = _newest(store._items.get(key), new)
        indices: dict[str, _Index[T]] = {name: {} for name in store._indexers}
        for key, item in items.items():
            for name, values in self._values(item).items():
                _file(indices[name], values, key, item)
        changes: list[Change[T]] = [
            (store._items.get(key), item)
            for key, item in items.items()
            if store._items.get(key) is not item
        ]
        changes += [(old, None) for key, old in store._items.items() if key not in items]
        with store._lock:
            store._items, store._indices = items, indices
            store._revision = max(store._revision, seen)
        return changes

    def apply(self, new: T, resource_version: str) -> Change[T] | None:
        """Add or update one object; return the change, None if it was no news."""
        store, seen = self._store, revision(resource_version)
        key = new.metadata.key
        old = store._items.get(key)
        news = _newest(old, new) is new
        values = self._values(new) if news else {}
        before = self._values(old) if news and old is not None else {}
        with store._lock:
            if news:
                self._refile(key, before, values, new)
                store._items[key] = new
            store._revision = max(store._revision, seen)
        return (old, new) if news else None

    def remove(self, gone: T, resource_version: str) -> Change[T] | None:
        """Take out one object that was deleted at that revision; None if it was no news."""
        store, seen = self._store, revision(resource_version)
        key = gone.metadata.key
        old = store._items.get(key)
        news = old is not None and not _is_newer(old, resource_version)
        before = self._values(old) if news and old is not None else {}
        with store._lock:
            if news:
                self._refile(key, before, {}, None)
                del store._items[key]
            store._revision = max(store._revision, seen)
        return (old, None) if news else None

    def bookmark(self, resource_version: str) -> None:
        """Note that everything up to that revision was sent."""
        seen = revision(resource_version)
        with self._store._lock:
            self._store._revision = max(self._store._revision, seen)

    def mark_synced(self) -> None:
        """Declare the first list announced; wakes those in `Store.wait_synced`."""
        self._store._synced.set()

    def _values(self, item: T) -> dict[str, set[Hashable]]:
        # Called before the lock is taken and before anything is changed, so that a
        # slow index function blocks no reader and a failing one leaves no trace.
        return {name: set(function(item)) for name, function in self._store._indexers.items()}

    def _refile(
        self,
        key: Key,
        before: Mapping[str, set[Hashable]],
        after: Mapping[str, set[Hashable]],
        new: T | None,
    ) -> None:
        for name, index in self._store._indices.items():
            wanted = after.get(name, set())
            for value in before.get(name, set()) - wanted:
                _unfile(index, value, key)
            if new is not None:
                _file(index, wanted, key, new)


def _file(index: _Index[T], values: Iterable[Hashable], key: Key, item: T) -> None:
    for value in values:
        bucket = index.get(value, ())
        if isinstance(bucket, dict):
            bucket[key] = item
        elif any(other.metadata.key == key for other in bucket):
            index[value] = tuple(item if o.metadata.key == key else o for o in bucket)
        elif len(bucket) < _FEW:
            index[value] = (*bucket, item)
        else:
            index[value] = {other.metadata.key: other for other in (*bucket, item)}


def _unfile(index: _Index[T], value: Hashable, key: Key) -> None:
    bucket = index[value]
    if isinstance(bucket, dict):
        del bucket[key]
    else:
        bucket = index[value] = tuple(o for o in bucket if o.metadata.key != key)
    if not bucket:
        del index[value]


def _members(bucket: _Bucket[T]) -> list[T]:
    return [*(bucket.values() if isinstance(bucket, dict) else bucket)]


def _newest(old: T | None, new: T) -> T:
    """Return the later of two states of one name; the old one if they are equal.

    Equal versions keep the old object: a relist then announces nothing and frees
    the copy it has just decoded.
    """
    if old is None or not (_is_newer(old, new.metadata.resource_version) or _same(old, new)):
        return new
    return old


def _is_newer(item: T, resource_version: str) -> bool:
    return revision(item.metadata.resource_version) > revision(resource_version)


def _same(old: T, new: T) -> bool:
    before, after = old.metadata, new.metadata
    return (before.uid, before.resource_version) == (after.uid, after.resource_version)
