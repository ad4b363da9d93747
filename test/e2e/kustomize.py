"""The project's manifests as kubectl renders them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import yaml

from cluster.build import ensure_binaries

CONFIG = Path(__file__).parents[2] / "config"


def rendered(folder: Path) -> list[dict[str, Any]]:
    """All manifests of a kustomization."""
    kubectl = ensure_binaries() / "kubectl"
    result = subprocess.run(
        [kubectl, "kustomize", str(folder)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return [item for item in yaml.safe_load_all(result.stdout) if item]
