"""The promises at the top of `evc.runtime.store`."""

from __future__ import annotations

import threading
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evc.model.core import Pod
from evc.runtime.store import Store, Writer, revision

from .fakes import key, pod


def by_label(item: Pod) -> Iterable[tuple[str, str]]:
    return item.metadata.labels.items()


def filled(*pods: Pod, version: str = "10") -> tuple[Store[Pod], Writer[Pod]]:
    store: Store[Pod] = Store({"label": by_label})
    writer = Writer(store)
    writer.replace(pods, version)
    return store, writer


def test_a_reader_never_sees_a_half_replaced_cache() -> None:
    """A list is read lazily; whatever a reader asks meanwhile, it sees the old cache."""
    store, writer = filled(pod("a", app="x"))
    seen: list[tuple[list[str], list[Pod], str]] = []

    def slow_list() -> Iterable[Pod]:
        for name in "bc":
            yield pod(name, 11, app="x")
            found = store.by_index("label", ("app", "x"))
            seen.append(
                ([item.metadata.name for item in store.list()], found, store.resource_version)
            )

    writer.replace(slow_list(), "11")
    assert seen == [(["a"], [pod("a", app="x")], "10")] * 2
    assert [item.metadata.name for item in store.list()] == ["b", "c"]


def test_objects_indices_and_revision_change_under_one_lock() -> None:
    """Looks inside on purpose: when the lock is taken, readers still have the old cache."""
    store, writer = filled(pod("a", app="x"))
    moments: list[tuple[list[str], object, int]] = []

    class Spy:
        def __enter__(self) -> None:
            names = [item.name for item in store._items]
            moments.append((names, [*store._indices["label"]], store._revision))

        def __exit__(self, *error: object) -> None:
            self.__enter__()

    store._lock = Spy()  # type: ignore[assignment]
    writer.replace([pod("b", 11, app="y")], "11")
    writer.apply(pod("c", 12, app="z"), "12")
    writer.remove(pod("c", 12, app="z"), "13")
    x, y, z = ("app", "x"), ("app", "y"), ("app", "z")
    before, after = moments[::2], moments[1::2]
    assert before == [(["a"], [x], 10), (["b"], [y], 11), (["b", "c"], [y, z], 12)]
    assert after == [(["b"], [y], 11), (["b", "c"], [y, z], 12), (["b"], [y], 13)]


def test_readers_in_other_threads_see_whole_lists_only() -> None:
    """Lists swap between generations of 50; a mix of generations would show."""
    store, writer = filled(version="1")
    over = threading.Event()
    mixed: list[set[str]] = []

    def read() -> None:
        while not over.is_set():
            phases = {item.status.phase for item in store.list()}
            phases |= {item.status.phase for item in store.by_index("label", ("app", "x"))}
            if len({item.status.phase for item in store.list()}) > 1:
                mixed.append(phases)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    for version in range(2, 40):
        objects = [pod(f"p{n}", version, phase=str(version), app="x") for n in range(50)]
        writer.replace(objects, str(version))
    over.set()
    reader.join()
    assert mixed == []


def test_a_newer_object_is_never_overwritten_by_an_older_one() -> None:
    store, writer = filled(pod("a", 9, phase="Running"), pod("b", 9))
    assert writer.apply(pod("a", 8, phase="Pending"), "10") is None
    assert writer.remove(pod("b", 8), "8") is None
    writer.replace([pod("a", 7, phase="Pending"), pod("b", 9)], "11")
    assert store.get(key("a")) == pod("a", 9, phase="Running")
    assert store.get(key("b")) is not None


def test_versions_compare_as_numbers_not_as_text() -> None:
    store, writer = filled(pod("a", 9))
    assert writer.apply(pod("a", 10, phase="Running"), "10") is not None
    assert store.has_seen("9")
    assert store.has_seen("10")
    assert not store.has_seen("11")


def test_the_revision_never_goes_back() -> None:
    store, writer = filled(pod("a", 9), version="10")
    seen = [store.resource_version]
    writer.bookmark("20")
    seen.append(store.resource_version)
    writer.apply(pod("b", 15), "15")
    writer.bookmark("12")
    writer.remove(pod("a", 13), "13")
    seen.append(store.resource_version)
    writer.apply(pod("c", 21), "21")
    seen.append(store.resource_version)
    writer.remove(pod("c", 22), "22")
    seen.append(store.resource_version)
    assert seen == ["10", "20", "20", "21", "22"]


def test_before_the_first_list_nothing_is_seen() -> None:
    store: Store[Pod] = Store({})
    assert (store.resource_version, store.synced, len(store)) == ("", False, 0)
    assert not store.has_seen("1")


@pytest.mark.parametrize("garbage", ["", "-1", "1.5", "0x1f", "abc", "1_000", " 1"])
def test_what_is_not_a_version_is_refused(garbage: str) -> None:
    with pytest.raises(ValueError, match="resourceVersion"):
        revision(garbage)
    store, writer = filled(pod("a", 9))
    with pytest.raises(ValueError, match="resourceVersion"):
        writer.apply(pod("b", 11), garbage)
    with pytest.raises(ValueError, match="resourceVersion"):
        writer.replace([], garbage)
    assert (store.keys(), store.resource_version) == ([key("a")], "10"), "and nothing changed"


def test_a_recreated_object_is_one_change() -> None:
    store, writer = filled(old := pod("a", 9, uid="first", app="x"))
    new = pod("a", 12, uid="second", app="y")
    assert writer.apply(new, "12") == (old, new)
    newest = pod("a", 14, uid="third")
    assert writer.replace([newest], "14") == [(new, newest)]
    assert store.list() == [newest]


def test_an_object_is_found_under_its_present_index_values_only() -> None:
    store, writer = filled(pod("a", app="x", tier="1"), pod("b", app="x"))
    moved = pod("a", 11, app="y", tier="1")
    writer.apply(moved, "11")
    assert store.by_index("label", ("app", "x")) == [pod("b", app="x")]
    assert store.by_index("label", ("app", "y")) == [moved]
    assert store.by_index("label", ("tier", "1")) == [moved], "the new object, not the old one"
    writer.remove(moved, "12")
    assert store.by_index("label", ("app", "y")) == []
    with pytest.raises(KeyError):
        store.by_index("no such index", "x")


def test_of_several_values_the_rarest_is_listed() -> None:
    store, _ = filled(pod("a", app="x", tier="1"), pod("b", app="x"))
    values = [("app", "x"), ("tier", "1")]
    assert store.by_rarest("label", values) == [pod("a", app="x", tier="1")]
    assert store.by_rarest("label", [*values, ("tier", "2")]) == []


def test_empty_index_buckets_are_freed() -> None:
    """Looks inside on purpose: the leak has no other symptom than memory."""
    store, writer = filled()
    for version in range(11, 111):
        writer.apply(pod("a", version, job=f"run-{version}"), str(version))
    assert [*store._indices["label"]] == [("job", "run-110")]
    writer.remove(pod("a", 111), "111")
    assert [*store._indices["label"]] == []


def test_what_did_not_change_is_not_announced() -> None:
    kept = pod("kept", 5)
    store, writer = filled(kept, pod("gone", 6), pod("changed", 7))
    relisted = [pod("kept", 5), pod("changed", 12, phase="Running"), pod("new", 13)]
    assert writer.replace(relisted, "13") == [
        (pod("changed", 7), relisted[1]),
        (None, relisted[2]),
        (pod("gone", 6), None),
    ]
    assert store.get(key("kept")) is kept, "the copy just decoded is freed"
    assert writer.apply(pod("new", 13), "13") is None, "a repeated event"
    assert writer.remove(pod("gone", 6), "14") is None


def test_synced_only_when_the_writer_says_so() -> None:
    store, writer = filled(pod("a"))
    assert not store.wait_synced(0.0)
    writer.mark_synced()
    assert store.synced
    assert store.wait_synced(0.0)


def test_a_store_has_one_writer() -> None:
    store, _ = filled()
    with pytest.raises(RuntimeError, match="one writer"):
        Writer(store)


def test_a_failed_index_function_changes_nothing() -> None:
    def poisoned(item: Pod) -> Iterable[str]:
        if item.metadata.name == "poison":
            raise RecursionError
        return [item.metadata.name]

    store: Store[Pod] = Store({"name": poisoned})
    writer = Writer(store)
    writer.replace([pod("a")], "10")
    with pytest.raises(RecursionError):
        writer.replace([pod("b"), pod("poison")], "11")
    with pytest.raises(RecursionError):
        writer.apply(pod("poison", 12), "12")
    assert (store.keys(), store.resource_version) == ([key("a")], "10")
    assert store.by_index("name", "a") == [pod("a")]


def test_lists_belong_to_the_caller() -> None:
    store, _ = filled(pod("a", app="x"))
    store.list().clear()
    store.keys().clear()
    store.by_index("label", ("app", "x")).clear()
    assert store.list() == store.by_index("label", ("app", "x")) == [pod("a", app="x")]


def test_a_value_of_many_objects_is_left_by_each_and_keeps_their_order() -> None:
    """Buckets change their shape when they grow: eight is the most that a small one holds."""
    store, writer = filled()
    names = "abcdefghijkl"
    for version, name in enumerate(names, 11):
        writer.apply(pod(name, version, app="web"), str(version))
        found = store.by_index("label", ("app", "web"))
        assert [p.metadata.name for p in found] == [*names[: version - 10]]
    for version, name in enumerate(names, 31):
        writer.apply(pod(name, version, app="web", phase="Running"), str(version))
    assert store.by_index("label", ("app", "web")) == store.list()
    assert store.list()[0].status.phase == "Running"
    for version, name in enumerate(names, 51):
        writer.remove(pod(name, version), str(version))
        assert len(store.by_index("label", ("app", "web"))) == len(names) - (version - 50)


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["apply"] * 6 + ["remove", "remove", "replace"]),
        st.sampled_from("abcdefghijkl"),
        st.dictionaries(st.sampled_from("xy"), st.sampled_from("1112"), max_size=2),
    ),
    max_size=60,
)


@given(OPERATIONS)
def test_indices_always_equal_a_scan_of_the_objects(
    operations: list[tuple[str, str, dict[str, str]]],
) -> None:
    store, writer = filled()
    for version, (verb, name, labels) in enumerate(operations, 11):
        item = pod(name, version, **labels)
        if verb == "replace":
            writer.replace([item], str(version))
        else:
            getattr(writer, verb)(item, str(version))
        values = [(label, value) for label in "xy" for value in "12"]
        for pair in values:
            expected = [p for p in store.list() if pair in p.metadata.labels.items()]
            found = store.by_index("label", pair)
            assert sorted(p.metadata.name for p in found) == sorted(
                p.metadata.name for p in expected
            )
            assert all(p is store.get(p.metadata.key) for p in found)
        assert all(store._indices["label"].values()), "no empty bucket"
