"""Specs drawn from the CRD's own schema, mutated on the real API server, in the manner of Acto.

Whatever the API server accepts, the cluster must come to agree with a small pure model of
what the spec asks for; taking a mutation back must lead back.
"""

from __future__ import annotations

import copy
import re
import time
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from kubernetes.utils.quantity import parse_quantity

from e2e import manifests
from e2e.scenario import PATHS, Json, Operator, Refused, Scenario, condition

CRD = Path(__file__).parents[2] / "config/crd/bases/evc.dev_ephemeralvolumeclaims.yaml"
SPEC: Json = yaml.safe_load(CRD.read_text())["spec"]["versions"][0]["schema"]["openAPIV3Schema"][
    "properties"
]["spec"]
PATHS["storageclass"] = "/apis/storage.k8s.io/v1/storageclasses"

EXAMPLES = 60
SOON = 10
"""Longer than the test looks at one object; shorter times of a spec are taken to be over."""
PATIENCE = 60.0
GROWING = "growing"

# --- from the schema to specs -----------------------------------------------------------

ODD = ["", " ", "ü", "a" * 64, "UPPER", "-", "../x", "nul\u0000l", "true"]
WORDS = {
    "storage": ["1Gi", "2Gi", "1024Mi", "1e9", "1500M", "0.5Gi", "1", "0", "-1Gi", "many", "1Gib"],
    "storageClassName": [GROWING, GROWING, "standard", "no-such-class", "", "Not A Name"],
    "volumeAttributesClassName": ["", "gold"],
    "existingClaimName": ["somebodys", "no_name"],
    "kind": ["PersistentVolumeClaim", "VolumeSnapshot", "Pod"],
    "apiGroup": ["snapshot.storage.k8s.io", "", "not a group"],
    "name": ["source", "Not A Name"],
    "key": ["app", "example.com/app", "bad key"],
    "values": ["a", "b"],
}
KEYS = [
    *("team", "example.com/cost", "app", "example.com/x") * 4,
    *("bad key!", "evc.dev/owner-uid", "a.kubernetes.io/b", ""),
]
STARTS = [(), (), ("volumeClaimTemplate",), ("volumeClaimTemplate", "metadata")]
VALUES = [*("blue", "red", "", "42") * 3, "no label value!"]


def drawn(schema: Json, name: str = "") -> st.SearchStrategy[Any]:
    """Values that fit the schema, or are one step beyond its bounds."""
    if "enum" in schema:
        return st.sampled_from([*schema["enum"] * 4, "Other"])
    match schema["type"]:
        case "object" if "additionalProperties" in schema:
            return st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES), max_size=3)
        case "object":
            return drawn_object(schema)
        case "array":
            most = min(schema.get("maxItems", 2) + 1, 5)
            return st.lists(drawn(schema["items"], name), min_size=1, max_size=min(most, 2))
        case "boolean":
            return st.booleans()
        case "integer":
            low, high = schema.get("minimum", 0), schema.get("maximum", 2**31)
            inside = [low, 3600, schema.get("default", low), 86_400, high - 1, high]
            return st.sampled_from([*inside * 3, low - 1, high + 1, 2**63])
        case "string":
            return st.sampled_from(WORDS.get(name, ["plain"]) * 3 + ODD)
    raise AssertionError(f"the schema of {name} is of a type this test does not know: {schema}")


@st.composite
def drawn_object(draw: st.DrawFn, schema: Json) -> Json:
    """All required fields and some of the others."""
    properties: Json = schema["properties"]
    required = [name for name in schema.get("required", ()) if draw(st.integers(0, 40)) != 40]
    optional = sorted(set(properties) - set(required))
    some = draw(st.lists(st.sampled_from(optional), unique=True, max_size=3)) if optional else []
    return {name: draw(drawn(properties[name], name)) for name in [*required, *some]}


@st.composite
def specs(draw: st.DrawFn) -> Json:
    """Whole specs; half of them rest on one that is fine, or too few would be accepted."""
    if draw(st.integers(0, 3)) == 0:
        return draw(drawn_object(SPEC))
    spec = manifests.claim("model")["spec"]
    del spec["minimumWaitSeconds"]
    if draw(st.booleans()):
        spec["volumeClaimTemplate"]["spec"]["storageClassName"] = GROWING
    for change in draw(st.lists(mutations(), max_size=3)):
        spec = merged(spec, change)
    return spec


@st.composite
def mutations(draw: st.DrawFn) -> Json:
    """A merge patch that sets or removes one field, at any depth.

    Half of them are about the template, most of all about what may change of it.
    """
    schema, patch = SPEC, {}
    at = patch
    for name in draw(st.sampled_from(STARTS)):
        schema = schema["properties"][name]
        at[name] = at = {}
    while True:
        name = draw(st.sampled_from(sorted(schema["properties"])))
        schema = schema["properties"][name]
        if schema["type"] != "object" or "properties" not in schema or draw(st.integers(0, 5)) == 0:
            at[name] = None if draw(st.integers(0, 4)) == 0 else draw(drawn(schema, name))
            return patch
        at[name] = at = {}


def merged(old: Any, change: Any) -> Any:
    """RFC 7396."""
    if not isinstance(change, dict):
        return change
    result = dict(old) if isinstance(old, dict) else {}
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def way_back(old: Any, new: Any) -> Any:
    """The merge patch that makes new into old."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return old
    back: Json = {key: None for key in new if key not in old}
    for key, value in old.items():
        if key not in new or new[key] != value:
            back[key] = way_back(value, new.get(key))
    return back


# --- the model --------------------------------------------------------------------------


@dataclass
class Model:
    """What the cluster should look like for a claim, told from its stored spec alone."""

    name: str
    uid: str

    def template_of(self, spec: Json) -> Json:
        """The PVC to ask for."""
        template = spec["volumeClaimTemplate"]
        labels = template.get("metadata", {}).get("labels", {})
        annotations = template.get("metadata", {}).get("annotations", {})
        marks = {
            "evc.dev/owner-uid": self.uid,
            "evc.dev/owner-name": self.name,
            "evc.dev/completed-pods": spec["completedPods"],
        }
        return {
            "metadata": {
                "name": self.name,
                "labels": labels | {"app.kubernetes.io/managed-by": "evc"},
                "annotations": annotations | marks,
            },
            "spec": template["spec"],
        }


def expired(spec: Json) -> bool:
    """Whether nobody will use it any more."""
    grace = spec.get("onExpiry", {}).get("gracePeriodSeconds", 0)
    return bool(spec["expirySeconds"] + grace < SOON)


def disagreement(scenario: Scenario, model: Model, refusal: str) -> str:
    """How the cluster differs from what the spec asks for; "" if it does not.

    ``refusal``: the API server's own word on the PVC the spec asks for.
    """
    evc = scenario.get("evc", model.name)
    pvc = scenario.get("pvc", model.name)
    if "status" not in evc:
        return "the object went, or was never seen"
    spec, ready = evc["spec"], condition(evc, "Ready")
    if evc["status"].get("observedGeneration") != evc["metadata"]["generation"]:
        return "the spec was not seen yet"
    state = (ready["reason"], kstatus(evc))
    if "existingClaimName" in spec:
        return differs(state, ("ClaimNotFound", "Failed")) or differs(bool(pvc), False)
    if refusal and not pvc:
        said = ready["message"].removeprefix(
            f"could not create PersistentVolumeClaim {model.name}: "
        )
        return differs(state, ("ProvisioningFailed", "Failed")) or differs(said in refusal, True)
    stage = "Held" if spec.get("hold") and expired(spec) else "Waiting"
    return differs(state, (stage, "Current")) or shape(scenario, pvc, model.template_of(spec), spec)


def shape(scenario: Scenario, pvc: Json, wanted: Json, spec: Json) -> str:
    """How a PVC differs from the wanted one."""
    if not pvc or "deletionTimestamp" in pvc["metadata"]:
        return "there is no PVC"
    meta = pvc["metadata"]
    theirs = re.compile(r"([^/]*\.)?kubernetes\.io/|evc\.dev/request-id")
    annotations = {k: v for k, v in meta["annotations"].items() if not theirs.match(k)}
    marks = {k: v for k, v in wanted["metadata"]["annotations"].items() if k.startswith("evc.dev/")}
    owned = spec.get("whenDeleted", "Delete") == "Delete"
    asked, has = wanted["spec"], pvc["spec"]
    fixed = (
        differs(marks.items() <= annotations.items(), True)
        or differs([o["kind"] for o in meta.get("ownerReferences", [])], [KIND] if owned else [])
        or differs(sorted(has["accessModes"]), sorted(asked["accessModes"]))
        or differs(has.get("storageClassName"), asked.get("storageClassName", "standard"))
        or differs(has["volumeMode"], asked.get("volumeMode", "Filesystem"))
    )
    if fixed or refuses_change(scenario, pvc, wanted):
        return fixed  # what the API server does not let change stays as it was
    size = parse_quantity(has["resources"]["requests"]["storage"])
    return (
        differs(meta["labels"], wanted["metadata"]["labels"])
        or differs(annotations, wanted["metadata"]["annotations"])
        or differs(size >= parse_quantity(asked["resources"]["requests"]["storage"]), True)
    )


def refuses_change(scenario: Scenario, pvc: Json, wanted: Json) -> bool:
    """Whether the API server, asked for what may change of the PVC, says no."""
    may_change = ("resources", "volumeAttributesClassName")
    change = {
        "metadata": {key: wanted["metadata"][key] for key in ("labels", "annotations")},
        "spec": {key: wanted["spec"][key] for key in may_change if key in wanted["spec"]},
    }
    path = scenario.path("pvc", pvc["metadata"]["name"]) + "?dryRun=All"
    try:
        scenario.call("PATCH", path, change, "application/merge-patch+json")
    except Refused:
        return True
    return False


KIND = "EphemeralVolumeClaim"


def differs(found: Any, wanted: Any) -> str:
    return "" if found == wanted else f"found {found!r}, wanted {wanted!r}"


def kstatus(item: Json) -> str:
    """How kstatus (Flux, `kubectl wait` in kpt) reads it."""
    if item["status"].get("observedGeneration") != item["metadata"]["generation"]:
        return "InProgress"
    on = {c["type"] for c in item["status"]["conditions"] if c["status"] == "True"}
    if "Reconciling" in on:
        return "InProgress"
    if "Stalled" in on:
        return "Failed"
    return "Current" if "Ready" in on else "InProgress"


# --- refusals ---------------------------------------------------------------------------


def our_messages(schema: Any) -> set[str]:
    """Every message of a CEL rule in the CRD."""
    if isinstance(schema, list):
        return set().union(*map(our_messages, schema)) if schema else set()
    if not isinstance(schema, dict):
        return set()
    rules = schema.get("x-kubernetes-validations", [])
    return {rule["message"] for rule in rules} | our_messages(list(schema.values()))


OURS = our_messages(SPEC)
OPENAPI = re.compile(
    r"Unsupported value: |Required value|Too long: may not be more than \d+ |Duplicate value: "
    r"|should be (less|greater) than or equal to |should (be at least|have at (least|most)) "
    r"|must be of type |Invalid value: \"\": .* should be at least 1 chars long|Too many: "
)


def explained(refusal: str) -> bool:
    """Whether a refusal is in our words or the schema's."""
    return "is invalid: " in refusal and (
        any(message in refusal for message in OURS) or OPENAPI.search(refusal) is not None
    )


# --- the test ---------------------------------------------------------------------------


class World:
    """One namespace, in which every example makes a claim of its own."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.names = (f"claim-{number}" for number in count())
        self.accepted = self.refused = 0
        self.standing: list[Model] = []

    def try_(self, act: Any) -> Json:
        """The stored object, or {} when the API server refused, as it may, with a reason."""
        try:
            stored: Json = act()
        except Refused as refusal:
            said = str(refusal)
        else:
            self.accepted += 1
            return stored
        assert explained(said), said
        self.refused += 1
        return {}

    def settled(self, model: Model) -> Json:
        """Wait until the cluster agrees with the model; {} if the claim is over by its spec."""
        evc = self.scenario.get("evc", model.name)
        spec = evc.get("spec", {})
        refusal = self.server_says(model, spec) if "volumeClaimTemplate" in spec else ""
        over = not spec or (expired(spec) and not spec.get("hold"))
        deadline = time.monotonic() + PATIENCE
        while True:
            wrong = self.not_over(model) if over else disagreement(self.scenario, model, refusal)
            if not wrong:
                return {} if over else evc
            found = self.scenario.get("evc", model.name)
            assert time.monotonic() < deadline, f"{model.name}: {wrong}\n{found}"
            time.sleep(0.03)

    def not_over(self, model: Model) -> str:
        """How a claim that nobody used in time is not over: gone, or a record of that."""
        evc = self.scenario.get("evc", model.name)
        if evc and condition(evc, "Finished").get("status") != "True":
            return "not finished"
        pvc = self.scenario.get("pvc", model.name)
        marks = [key for key in pvc.get("metadata", {}).get("annotations", {}) if "evc.dev" in key]
        return differs(marks, [])

    def server_says(self, model: Model, spec: Json) -> str:
        """Why the API server refuses the PVC the spec asks for; "" if it does not."""
        manifest = copy.deepcopy(model.template_of(spec))
        manifest |= {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}
        manifest["metadata"]["name"] = model.name
        path = self.scenario.path("pvc") + "?dryRun=All"
        try:
            self.scenario.call("POST", path, manifest)
        except Refused as refusal:
            return "" if "already exists" in str(refusal) else str(refusal)
        return ""


@pytest.fixture
def world(scenario: Scenario, operator: Operator) -> World:
    """Where a class lets volumes grow."""
    growing = {
        "metadata": {"name": GROWING},
        "provisioner": "kubernetes.io/host-path",
        "allowVolumeExpansion": True,
    }
    scenario.create("storageclass", growing)
    scenario.create("evc", manifests.claim("witness", gracePeriodSeconds=1))
    scenario.until_bound("witness")
    return World(scenario)


@pytest.mark.timeout(400)
def test_what_the_schema_lets_through_becomes_what_it_says(world: World) -> None:
    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(specs(), st.lists(mutations(), min_size=2, max_size=4))
    def example(spec: Json, changes: list[Json]) -> None:
        live_a_life(world, spec, changes)

    example()
    print(f"{world.accepted} states accepted, {world.refused} refused")
    assert world.accepted >= EXAMPLES
    assert world.refused >= EXAMPLES // 3
    for model in world.standing:
        assert world.settled(model), f"{model.name} did not stay as it was"
    # The others in the namespace were no hindrance to a claim that lives its life.
    scenario = world.scenario
    scenario.create("pod", manifests.pod("quick", "witness", complete_after="100ms"))
    scenario.until_gone("evc", "witness")


def live_a_life(world: World, spec: Json, changes: list[Json]) -> None:
    """Create, mutate step by step, take the last step back."""
    scenario, name = world.scenario, next(world.names)
    manifest = manifests.claim(name) | {"spec": spec}
    stored = world.try_(lambda: scenario.create("evc", manifest))
    if not stored:
        return
    model = Model(name, stored["metadata"]["uid"])
    present = world.settled(model)
    for change in changes:
        if not present:
            return
        before = present["spec"]
        patch = {"spec": change}
        stored = world.try_(lambda patch=patch: scenario.patch("evc", name, patch))
        if not stored:
            continue
        present = world.settled(model)
        back = way_back(before, stored["spec"])
        if present and back:
            undone = world.try_(lambda back=back: scenario.patch("evc", name, {"spec": back}))
            if undone:  # a volume that has grown does not shrink
                assert undone["spec"] == before
                present = world.settled(model)
                world.try_(lambda patch=patch: scenario.patch("evc", name, patch))
                present = world.settled(model)
    if present:
        world.standing.append(model)
