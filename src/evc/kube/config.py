"""Where the API server is and who we are.

In a pod it is an address in the environment and two files, read here.  A kubeconfig can be
far more (exec plugins, proxies, several files), so the official client reads those.  It is
imported only then: with all it brings it takes 20 MiB, a third of the operator in a pod.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import urllib3

from evc.model.errors import Unauthorized

if TYPE_CHECKING:
    from kubernetes.client.configuration import Configuration

DEFAULT_KUBECONFIG = Path("~/.kube/config")
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_SERVICE_HOST, _SERVICE_PORT = "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"

# As client-go dials (and Go's defaults): probe after 30 s of silence, then every 15 s, and
# give the connection up after 9 probes without an answer.
_KEEPALIVE = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 9))


class ConfigError(Exception):
    """No usable cluster configuration; the message says what was tried."""


class Credentials(Protocol):
    """Who we are, as HTTP headers; used by many threads."""

    def headers(self) -> dict[str, str]:
        """Return what to send now; raises Unauthorized if there is nothing to send."""

    def renewed(self) -> dict[str, str]:
        """Return the same, read anew from its source, because what was sent was refused."""


@dataclass(frozen=True)
class Cluster:
    """One API server: its URL, a maker of connection pools to it, and our credentials."""

    host: str
    pool: Callable[[int], urllib3.PoolManager]
    """Makes a pool that keeps so many connections."""
    credentials: Credentials


def load(
    kubeconfig: str | None,
    environ: Mapping[str, str] = os.environ,
    service_account: Path = SERVICE_ACCOUNT,
) -> Cluster:
    """Return the cluster to work on.

    Precedence as in controller-runtime (pkg/client/config): the flag, $KUBECONFIG,
    the in-cluster ServiceAccount, ~/.kube/config.  Raises ConfigError.
    """
    path = kubeconfig or environ.get("KUBECONFIG") or ""
    if not path and environ.get(_SERVICE_HOST):
        return _in_cluster(environ, service_account)
    if not path:
        path = str(DEFAULT_KUBECONFIG.expanduser())
        if not Path(path).exists():
            raise ConfigError(
                "no cluster: give --kubeconfig, set KUBECONFIG, or run inside a cluster"
                f" ({DEFAULT_KUBECONFIG} does not exist)"
            )
    credentials = KubeconfigCredentials(path)
    return Cluster(credentials.config.host, credentials.pool, credentials)


class TokenFile:
    """A bound ServiceAccount token, which the kubelet replaces long before it expires.

    It is read for every request: that takes microseconds, and a token that was rotated,
    or revoked and issued anew, is used from then on without a timer that says when.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def headers(self) -> dict[str, str]:
        """See `Credentials`."""
        try:
            return {"Authorization": f"Bearer {self._path.read_text().strip()}"}
        except OSError as error:
            raise Unauthorized(f"cannot read the ServiceAccount token: {error}") from error

    renewed = headers


class KubeconfigCredentials:
    """What a kubeconfig says of its user, as the official client understands it."""

    def __init__(self, path: str) -> None:
        """Raises ConfigError if the file cannot be used."""
        self._path = path
        self._lock = threading.Lock()
        self.config = _read(path)

    def headers(self) -> dict[str, str]:
        """See `Credentials`; the official client runs an exec plugin again when it must."""
        with self._lock:
            settings: dict[str, Any] = self.config.auth_settings()  # type: ignore[assignment]
        return {s["key"]: s["value"] for s in settings.values() if s["value"]}

    def renewed(self) -> dict[str, str]:
        """See `Credentials`."""
        try:
            config = _read(self._path)
        except ConfigError as error:
            raise Unauthorized(str(error)) from error
        with self._lock:
            self.config = config
        return self.headers()

    def pool(self, connections: int) -> urllib3.PoolManager:
        """Return a pool with the kubeconfig's TLS and proxy settings, and TCP keepalive."""
        from kubernetes.client.rest import RESTClientObject

        self.config.connection_pool_maxsize = connections
        manager: urllib3.PoolManager = RESTClientObject(self.config).pool_manager
        return manager


def _in_cluster(environ: Mapping[str, str], service_account: Path) -> Cluster:
    host, port = environ[_SERVICE_HOST], environ.get(_SERVICE_PORT, "443")
    authority = f"[{host}]" if ":" in host else host
    token, ca = service_account / "token", service_account / "ca.crt"
    for file in (token, ca):
        if not file.is_file():
            raise ConfigError(f"cannot use the ServiceAccount of this pod: {file} does not exist")

    def pool(connections: int) -> urllib3.PoolManager:
        return urllib3.PoolManager(
            maxsize=connections,
            cert_reqs="CERT_REQUIRED",
            ca_certs=str(ca),
            socket_options=keepalive(),
        )

    return Cluster(f"https://{authority}:{port}", pool, TokenFile(token))


def keepalive() -> list[tuple[int, int, int]]:
    """Return socket options by which the kernel notices a peer that is gone without a FIN."""
    options = [*urllib3.connection.HTTPConnection.default_socket_options]
    options.append((socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1))
    for name, value in _KEEPALIVE:
        # macOS has no TCP_KEEPIDLE; its defaults are better than no start.
        if hasattr(socket, name):
            options.append((socket.IPPROTO_TCP, getattr(socket, name), value))
    return options


def _read(path: str) -> Configuration:
    import yaml
    from kubernetes.client.configuration import Configuration
    from kubernetes.config import ConfigException, load_kube_config

    config = Configuration()
    config.keep_alive = True
    try:
        load_kube_config(config_file=path, client_configuration=config)  # type: ignore[no-untyped-call]
    except (ConfigException, yaml.YAMLError, OSError, ValueError, TypeError) as error:
        raise ConfigError(f"cannot use kubeconfig {path}: {error}") from error
    return config
