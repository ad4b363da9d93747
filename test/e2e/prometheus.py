"""A real Prometheus: the Debian package, unpacked into the cache, and a server of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import yaml

from cluster.locks import cache_root, locked
from e2e.scenario import Json, eventually, free_port

PACKAGE = "prometheus"


def program(name: str) -> Path:
    """The path of prometheus or promtool: the installed one, or else that of the package.

    Only unpacked, so that it needs no root and starts no service.
    """
    if found := shutil.which(name):
        return Path(found)
    folder = cache_root() / PACKAGE
    with locked(folder.with_suffix(".lock"), "the download of Prometheus"):
        if not (folder / "usr/bin" / name).exists():
            _unpack(folder)
    return folder / "usr/bin" / name


def _unpack(folder: Path) -> None:
    """Download the package; without it nothing here can be run."""
    scratch = folder.with_suffix(".new")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    attempts = [["apt-get", "download", "-qq", PACKAGE]]
    if os.geteuid() == 0:
        attempts = [*attempts, ["apt-get", "update", "-qq"], *attempts]
    said = ""
    for command in attempts if shutil.which("apt-get") else ():
        result = subprocess.run(
            command, cwd=scratch, capture_output=True, text=True, check=False, timeout=300
        )
        said = result.stderr.strip()
        if package := next(scratch.glob("*.deb"), None):
            subprocess.run(["dpkg-deb", "-x", package, scratch], check=True)
            shutil.rmtree(folder, ignore_errors=True)
            scratch.rename(folder)
            return
    why = f"there is no Prometheus here, and apt-get has no package {PACKAGE}. {said}"
    if os.environ.get("CI") or os.geteuid() == 0:
        pytest.fail(why)
    pytest.skip(f"NOT RUN: {why}")


def promtool(*args: str, cwd: Path) -> str:
    """Run it; fail unless it is content."""
    result = subprocess.run(
        [program("promtool"), *args], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


class Prometheus:
    """A server that scrapes and evaluates every second."""

    def __init__(self, folder: Path, scrape: Json, rules: Json) -> None:
        """``scrape`` is one of scrape_configs, ``rules`` a rule file."""
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": ["alerts.yaml"],
            "scrape_configs": [scrape],
        }
        folder.mkdir()
        (folder / "alerts.yaml").write_text(yaml.safe_dump(rules, sort_keys=False))
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        promtool("check", "config", "prometheus.yaml", cwd=folder)
        self._url = f"http://127.0.0.1:{free_port()}"
        self.log = folder / "prometheus.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    program("prometheus"),
                    "--config.file=prometheus.yaml",
                    "--storage.tsdb.path=data",
                    f"--web.listen-address={self._url.removeprefix('http://')}",
                ],
                cwd=folder,
                stdout=log,
                stderr=log,
            )
        eventually(self._ready, "Prometheus is ready")

    def close(self) -> None:
        """Stop it."""
        self._process.terminate()
        self._process.wait()

    def targets(self) -> list[Json]:
        """What it scrapes, and how that went."""
        found: list[Json] = self._get("targets", state="active")["activeTargets"]
        return found

    def query(self, expression: str) -> list[Json]:
        """The result of an instant query; fails if it is no vector."""
        data = self._get("query", query=expression)
        assert data["resultType"] == "vector", expression
        found: list[Json] = data["result"]
        return found

    def firing(self) -> list[dict[str, str]]:
        """The labels of the alerts that fire."""
        alerts = self._get("alerts")["alerts"]
        return [alert["labels"] for alert in alerts if alert["state"] == "firing"]

    def _get(self, path: str, **query: str) -> Any:
        url = f"{self._url}/api/v1/{path}?{urlencode(query)}"
        with urllib.request.urlopen(url, timeout=20) as answer:
            return json.load(answer)["data"]

    def _ready(self) -> bool:
        assert self._process.poll() is None, self.log.read_text()
        try:
            with urllib.request.urlopen(f"{self._url}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False
