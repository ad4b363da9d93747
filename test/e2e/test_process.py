"""`evc run` as a process: flags, errors a person can act on, probes, metrics, a clean stop."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster import ControlPlane
from e2e import manifests
from e2e.scenario import Operator, Scenario, evc_cli, free_port, when


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--workers", "0"], "--workers must be between 1 and 100, not 0"),
        (["--metrics-bind-address", "8080"], "--metrics-bind-address must look like :8081"),
        (["--leader-elect"], "--leader-elect needs --leader-election-namespace"),
        (["--worker", "3"], "No such option '--worker'"),
        (["--kubeconfig", "/no/such/file"], "cannot use kubeconfig /no/such/file"),
    ],
)
def test_a_wrong_flag_is_one_clear_line(args: list[str], says: str) -> None:
    result = evc_cli("run", *args)
    assert result.returncode != 0
    assert says in result.stderr.replace("\n", " ")
    assert "Traceback" not in result.stderr


def test_an_unreachable_api_server_is_one_clear_line(control_plane: ControlPlane) -> None:
    config = control_plane.kubeconfig.read_text().replace(
        control_plane.url, f"https://127.0.0.1:{free_port()}"
    )
    path = control_plane.directory / "unreachable.kubeconfig"
    path.write_text(config)
    result = evc_cli("run", f"--kubeconfig={path}")
    assert result.returncode == 1
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("Error: no answer from the API server at https://127.0.0.1:")
    assert "is it running, and does --kubeconfig name the right cluster?" in line


def test_a_forbidden_list_is_one_clear_line(with_crd: ControlPlane) -> None:
    nobody = with_crd.kubeconfig_for("nobody")
    result = evc_cli("run", f"--kubeconfig={nobody}")
    assert result.returncode == 1
    (line,) = result.stderr.strip().splitlines()
    assert "may not list ephemeralvolumeclaims in all namespaces" in line
    assert 'User "nobody" cannot list' in line


def test_a_taken_port_is_one_clear_line(operator: Operator, operator_kubeconfig: Path) -> None:
    result = evc_cli(
        "run",
        f"--kubeconfig={operator_kubeconfig}",
        f"--health-probe-bind-address=127.0.0.1:{operator.probes}",
    )
    assert result.returncode == 1
    (line,) = result.stderr.strip().splitlines()
    assert "choose another --*-bind-address" in line


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane without our API."""
    with ControlPlane.boot(directory=tmp_path_factory.mktemp("bare") / "cp") as plane:
        yield plane


def test_a_missing_crd_is_one_clear_line(bare: ControlPlane) -> None:
    result = evc_cli("run", f"--kubeconfig={bare.kubeconfig}")
    assert result.returncode == 1
    (line,) = result.stderr.strip().splitlines()
    assert "ephemeralvolumeclaims.evc.dev is not installed" in line
    assert "evc crd | kubectl apply -f -" in line


def test_sigterm_stops_it_cleanly_within_seconds(operator: Operator) -> None:
    assert operator.stop() < 10  # then a kubelet would kill it (config/manager)
    assert "Stopped operator" in operator.log.read_text()


def test_a_stop_leaves_no_key_of_the_kubeconfig_behind(
    operator_kubeconfig: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The official client writes certificates and keys to files, for TLS reads only files."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    process = Operator(operator_kubeconfig, tmp_path / "log")
    process.start()
    assert [*temporary.iterdir()], "there is something to leave behind"
    process.stop()
    assert [*temporary.iterdir()] == []


def test_probes_and_metrics_answer(operator: Operator, scenario: Scenario) -> None:
    scenario.create("evc", manifests.claim("scratch"))
    scenario.until_bound("scratch")
    assert operator.fetch(operator.probes, "/healthz") == (200, "ok\n")
    assert operator.fetch(operator.probes, "/readyz") == (200, "ok\n")
    assert operator.fetch(operator.probes, "/nothing")[0] == 404
    label = 'controller="ephemeralvolumeclaim"'
    # A news of the volume may just be on the queue, and an answer not be counted yet.
    settled = (
        f'workqueue_depth{{{label},name="ephemeralvolumeclaim",priority="0"}} 0.0',
        'rest_client_requests_total{code="201",',
    )

    def page() -> str | None:
        code, text = operator.fetch(operator.metrics, "/metrics")
        assert code == 200
        return text if all(line in text for line in settled) else None

    text = scenario.eventually(page, "the metrics tell of what was done")
    assert f'controller_runtime_reconcile_total{{{label},result="requeue"}} 0.0' in text


def test_logs_can_be_json(scenario: Scenario, operator_kubeconfig: Path, tmp_path: Path) -> None:
    process = Operator(
        operator_kubeconfig, tmp_path / "log", "-n", scenario.namespace, "--log-format=json"
    )
    process.start()
    scenario.create("evc", manifests.claim("scratch"))
    scenario.until_reason("scratch", "Waiting")
    process.close()
    lines = [json.loads(line) for line in process.log.read_text().splitlines()]
    assert {"event", "level", "ts"} <= lines[0].keys()
    (told,) = [line for line in lines if line.get("reason") == "Waiting"]
    assert told["controller"] == "ephemeralvolumeclaim"
    assert (told["namespace"], told["name"]) == (scenario.namespace, "scratch")
    assert told["reconcileID"]


def test_leader_election_lets_one_act_and_hands_over_at_once(
    scenario: Scenario, operator_kubeconfig: Path, tmp_path: Path
) -> None:
    election = ("--leader-elect", "--leader-election-namespace=evc-system")
    args = ("-n", scenario.namespace, *election, "--log-format=json")
    first = Operator(operator_kubeconfig, tmp_path / "first.log", *args)
    second = Operator(operator_kubeconfig, tmp_path / "second.log", *args)
    first.start()
    scenario.create("evc", manifests.claim("one"))
    scenario.until_bound("one")
    second.start()
    assert "Became leader" not in second.log.read_text()
    first.stop()
    scenario.create("evc", manifests.claim("two"))
    scenario.until_bound("two")
    second.close()
    # Virtual time proves 2.4 s and the requests. A busy machine may take seconds more, and
    # one that was not released would be respected for twelve at least.
    assert told_at(second, "Became leader") - told_at(first, "Stopped leading") < 10.0


def told_at(process: Operator, event: str) -> float:
    """Return when a process last told of something, in seconds."""
    lines = [json.loads(line) for line in process.log.read_text().splitlines()]
    return max(when(line["ts"]).timestamp() for line in lines if line["event"] == event)
