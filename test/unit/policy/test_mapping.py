"""From a changed object to the EphemeralVolumeClaims it concerns."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evc.model.core import LabelSelector, LabelSelectorRequirement
from evc.model.meta import Key
from evc.policy.mapping import Designations, keys_of_claim, keys_of_pod, keys_of_template
from evc.policy.usage import matches
from unit.builders import (
    LABELS,
    NAMESPACE,
    EvcBuilder,
    JobBuilder,
    PodBuilder,
    claim,
    evc,
    job,
    pod,
)

KEY = Key(NAMESPACE, "scratch")


def knowing(*known: EvcBuilder) -> Designations:
    designations = Designations()
    for one in known:
        designations.change(None, one.value)
    return designations


def need(operator: str, *values: str) -> LabelSelector:
    return LabelSelector({}, (LabelSelectorRequirement("app", operator, values),))  # type: ignore[arg-type]


def of_pod(one: PodBuilder, known: Designations) -> set[Key]:
    return keys_of_pod(one.value, known, known.takers)


def test_a_pod_concerns_who_selects_it_and_whose_claim_it_references() -> None:
    known = knowing(evc(), evc("other").selecting(LabelSelector({"app": "web"})))
    other = Key(NAMESPACE, "other")
    assert of_pod(pod().designated(), known) == {KEY}
    assert of_pod(pod().using("other"), known) == {other}
    assert of_pod(pod().designated().using("other"), known) == {KEY, other}
    assert of_pod(pod().using("nobodys"), known) == set()
    assert of_pod(pod(), known) == set()


@pytest.mark.parametrize("made", [job().making(LABELS), job().making({}, claim="scratch")])
def test_a_maker_of_pods_concerns_whom_its_pods_will(made: JobBuilder) -> None:
    known, template = knowing(evc()), made.value.template
    assert keys_of_template(NAMESPACE, template, known, known.takers) == {KEY}


def test_a_claim_concerns_who_wants_it_and_its_owner() -> None:
    other = Key(NAMESPACE, "other")
    assert keys_of_claim(claim().value, knowing(evc())) == {KEY}
    assert keys_of_claim(claim().value, knowing()) == set()
    assert keys_of_claim(claim().marked_for(evc("other")).value, knowing(evc())) == {KEY, other}


def test_a_claim_that_is_taken_over_concerns_its_taker_under_its_own_name() -> None:
    known = knowing(evc().adopting("data"))
    assert keys_of_claim(claim("data").value, known) == {KEY}
    assert keys_of_claim(claim("scratch").value, known) == set()
    assert of_pod(pod().using("data"), known) == {KEY}


def test_two_objects_may_want_the_same_claim() -> None:
    known = knowing(evc().adopting("data"), evc("second").adopting("data"))
    assert known.takers(Key(NAMESPACE, "data")) == {KEY, Key(NAMESPACE, "second")}


def test_a_mark_without_a_name_is_for_the_namesake() -> None:
    assert keys_of_claim(claim().annotated(owner_uid="x").value, knowing()) == {KEY}


def test_another_namespace_is_never_concerned() -> None:
    there = pod().designated().meta(namespace="elsewhere")
    assert of_pod(there, knowing(evc())) == set()


def test_every_label_has_to_match() -> None:
    two = evc().selecting(LabelSelector(LABELS | {"tier": "gpu"}))
    assert of_pod(pod().designated(), knowing(two)) == set()
    both = pod().meta(labels=LABELS | {"tier": "gpu", "zone": "a"})
    assert of_pod(both, knowing(two)) == {KEY}


def test_a_selector_of_expressions_alone_is_found() -> None:
    known = knowing(evc().selecting(need("Exists")))
    assert of_pod(pod().designated(), known) == {KEY}
    assert of_pod(pod(), known) == set()


def test_an_empty_selector_concerns_nobody() -> None:
    known = knowing(evc().selecting(LabelSelector()))
    assert of_pod(pod().designated(), known) == set()


def test_what_was_deleted_or_changed_is_not_found_any_more() -> None:
    known = knowing(evc())
    changed = evc().selecting(LabelSelector({"app": "web"}))
    known.change(evc().value, changed.value)
    assert of_pod(pod().designated(), known) == set()
    known.change(changed.value, None)
    assert not known._buckets
    assert not known._filed
    assert not known._takers


def test_a_label_that_all_claims_share_crowds_no_bucket() -> None:
    """Or a pod event would try the selector of each claim of the team."""
    runs = [evc(f"run-{n}").selecting(LabelSelector(LABELS | {"run": str(n)})) for n in range(50)]
    known = knowing(*runs)
    assert max(len(bucket) for bucket in known._buckets.values()) == 1
    seventh = pod().meta(labels=LABELS | {"run": "7"})
    assert of_pod(seventh, known) == {Key(NAMESPACE, "run-7")}


@pytest.mark.parametrize(
    ("selector", "labels", "matched"),
    [
        (need("In", "train", "test"), {"app": "test"}, True),
        (need("In", "train"), {"app": "web"}, False),
        (need("In", "train"), {}, False),
        (need("NotIn", "train"), {"app": "web"}, True),
        (need("NotIn", "train"), {"app": "train"}, False),
        (need("NotIn", "train"), {}, True),
        (need("Exists"), {"app": ""}, True),
        (need("Exists"), {}, False),
        (need("DoesNotExist"), {}, True),
        (need("DoesNotExist"), {"app": ""}, False),
        (LabelSelector(), {"app": "train"}, False),
    ],
)
def test_selectors_read_as_in_kubernetes_but_for_the_empty_one(
    selector: LabelSelector, labels: dict[str, str], matched: bool
) -> None:
    assert matches(selector, labels) is matched


NAMES = ("a", "b", "c")
LABEL_SETS = st.dictionaries(st.sampled_from(("app", "tier")), st.sampled_from("xy"), max_size=2)
SELECTORS = st.builds(
    lambda labels, needs: LabelSelector(labels, tuple(needs)),
    LABEL_SETS,
    st.lists(
        st.sampled_from(
            (
                need("Exists").match_expressions[0],
                need("DoesNotExist").match_expressions[0],
                need("In", "x").match_expressions[0],
                need("NotIn", "x").match_expressions[0],
            )
        ),
        max_size=1,
    ),
)
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(("lab", "office")),
        st.sampled_from(NAMES),
        st.none() | st.tuples(SELECTORS, st.none() | st.sampled_from(NAMES)),
    ),
    max_size=12,
)


@settings(database=None, derandomize=True, deadline=None, max_examples=200)
@given(CHANGES, LABEL_SETS)
def test_designations_know_what_a_scan_of_all_would_find(
    changes: list[tuple[str, str, tuple[LabelSelector, str | None] | None]],
    labels: dict[str, str],
) -> None:
    """After any sequence of claims made, changed, re-created and deleted."""
    designations, present = Designations(), {}
    for namespace, name, what in changes:
        key = Key(namespace, name)
        new = None
        if what is not None:
            selector, taken = what
            made = evc(name).selecting(selector).meta(namespace=namespace)
            new = (made.adopting(taken) if taken else made).value
        old = present.pop(key, None)
        designations.change(old, new)
        if new is not None:
            present[key] = new
    for namespace in ("lab", "office", "nowhere"):
        inside = [e for e in present.values() if e.metadata.namespace == namespace]
        assert designations.keys(namespace, labels) == {
            e.metadata.key for e in inside if matches(e.spec.pod_selector, labels)
        }
        for name in NAMES:
            assert designations.takers(Key(namespace, name)) == {
                e.metadata.key for e in inside if e.claim_name == name
            }
    for (namespace, name), old in present.items():
        designations.change(old, None)
        assert (namespace, name) not in designations.keys(namespace, labels)
    assert not designations._buckets, "nothing of what was deleted stays in memory"
    assert not designations._takers
