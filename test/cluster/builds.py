"""What builds an image, and what it is pushed to: buildah, and a registry of the run's own.

The registry has a name that no registry of the world has (RFC 2606), and which in the run's own
network leads to the machine itself. It speaks plain HTTP, which its clients are told.
"""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

from .boot import ControlPlane

REGISTRY = "registry.example.com"
BASE = "localhost/python:debian"
"""The name that docs/release.md gives the base image."""

# Without a driver, one is chosen that works here: overlays cannot be stacked.
STORAGE = """
[storage]
driver = ""
graphroot = "{home}/images"
runroot = "{home}/images-run"
"""
# Whoever this machine believes, such as a company's proxy, a build believes as well.
BUILD = """
[containers]
volumes = ["/etc/ssl/certs:/etc/ssl/certs:ro"]
"""
CLIENTS = f"""
[[registry]]
location = "{REGISTRY}"
insecure = true
"""
SERVER = """
version: 0.1
storage:
  filesystem: {{rootdirectory: "{home}/registry"}}
  delete: {{enabled: true}}
http: {{addr: "{name}:80"}}
"""


def environment(home: Path) -> dict[str, str]:
    """What makes `make docker-build docker-push` use buildah, with all that it keeps in home."""
    given = {
        "CONTAINERS_STORAGE_CONF": STORAGE.format(home=home),
        "CONTAINERS_REGISTRIES_CONF": CLIENTS,
        "CONTAINERS_CONF": BUILD,
    }
    for variable, content in given.items():
        file = home / f"{variable.lower()}.conf"
        file.write_text(content)
        given[variable] = str(file)
    return given | {
        "CONTAINER_TOOL": "buildah",
        "BUILDAH_ISOLATION": "chroot",  # works in a container, too
        "BUILDAH_LAYERS": "true",  # a second build takes from the first what has not changed
        "PYTHON_IMAGE": BASE,
    }


def serve(plane: ControlPlane, home: Path) -> None:
    """Start the registry, and return when it answers."""
    config = home / "registry.yaml"
    config.write_text(SERVER.format(home=home, name=REGISTRY))
    plane.start("registry", ["docker-registry", "serve", str(config)])
    plane.wait_for("the registry", _answers)


def _answers() -> bool:
    with contextlib.suppress(OSError), socket.create_connection((REGISTRY, 80), timeout=1.0):
        return True
    return False
