"""Which cluster is meant, and who we are there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from evc.kube.config import ConfigError, KubeconfigCredentials, load

POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "6443"}


def kubeconfig(folder: Path, token: str = "secret", server: str = "https://example:6443") -> str:
    """Write a kubeconfig (JSON is YAML) and return its path."""
    file = folder / "config"
    file.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "x",
                "clusters": [{"name": "x", "cluster": {"server": server}}],
                "users": [{"name": "x", "user": {"token": token}}],
                "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
            }
        )
    )
    return str(file)


@pytest.fixture
def account(tmp_path: Path) -> Path:
    (tmp_path / "token").write_text("abc\n")
    (tmp_path / "ca.crt").write_text("")
    return tmp_path


def test_a_pod_finds_its_cluster_and_its_token(account: Path) -> None:
    cluster = load(None, POD, account)
    assert cluster.host == "https://10.0.0.1:6443"
    assert cluster.credentials.headers() == {"Authorization": "Bearer abc"}
    settings = cluster.pool(7).connection_pool_kw
    assert settings["maxsize"] == 7
    assert settings["cert_reqs"] == "CERT_REQUIRED"
    assert settings["ca_certs"] == str(account / "ca.crt")
    assert settings["socket_options"]


def test_an_address_of_ipv6_is_bracketed(account: Path) -> None:
    cluster = load(None, {"KUBERNETES_SERVICE_HOST": "fd00::1"}, account)
    assert cluster.host == "https://[fd00::1]:443"


@pytest.mark.parametrize("missing", ["token", "ca.crt"])
def test_a_pod_without_its_account_says_what_is_missing(account: Path, missing: str) -> None:
    (account / missing).unlink()
    with pytest.raises(ConfigError, match=missing):
        load(None, POD, account)


def test_the_flag_comes_before_the_environment_and_that_before_the_pod(
    account: Path, tmp_path: Path
) -> None:
    flagged, named = tmp_path / "flag", tmp_path / "named"
    for folder in (flagged, named):
        folder.mkdir()
    flag = kubeconfig(flagged, server="https://flag")
    name = kubeconfig(named, server="https://named")
    environ = {"KUBECONFIG": name, **POD}
    assert load(flag, environ, account).host == "https://flag"
    assert load(None, environ, account).host == "https://named"
    assert load(None, POD, account).host == "https://10.0.0.1:6443"


def test_no_cluster_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ConfigError, match="give --kubeconfig, set KUBECONFIG, or run inside"):
        load(None, {}, tmp_path)


@pytest.mark.parametrize("text", ["{", "{}", "users: 7"])
def test_a_kubeconfig_that_cannot_be_used_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "broken"
    file.write_text(text)
    with pytest.raises(ConfigError, match="broken"):
        load(str(file), {}, tmp_path)


def test_a_kubeconfig_is_read_anew_when_its_token_was_refused(tmp_path: Path) -> None:
    credentials = KubeconfigCredentials(kubeconfig(tmp_path, "old"))
    kubeconfig(tmp_path, "new")
    assert credentials.headers() == {"authorization": "Bearer old"}
    assert credentials.renewed() == {"authorization": "Bearer new"}
    assert credentials.headers() == {"authorization": "Bearer new"}


def test_a_kubeconfigs_pool_probes_silent_peers(tmp_path: Path) -> None:
    cluster = load(kubeconfig(tmp_path), {}, tmp_path)
    assert cluster.pool(3).connection_pool_kw["socket_options"]


def test_in_a_pod_the_official_client_is_not_loaded(account: Path) -> None:
    """It takes 20 MiB with all that it imports; a pod needs an address and two files."""
    program = (
        "import sys; from pathlib import Path; from evc import app;"
        "from evc.kube.config import load;"
        f"load(None, {POD!r}, Path({str(account)!r})).pool(1);"
        "print([name for name in ('kubernetes', 'pydantic', 'yaml') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]", done.stderr
