"""Where the API server is and who we are, as the official client finds it."""

from __future__ import annotations

import os
from pathlib import Path

import urllib3
from kubernetes.client.configuration import Configuration
from kubernetes.config import ConfigException, load_incluster_config, load_kube_config

DEFAULT_KUBECONFIG = Path("~/.kube/config")


class ConfigError(Exception):
    """No usable cluster configuration; the message says what was tried."""


def load(kubeconfig: str | None) -> Configuration:
    """Return the configuration of one cluster.

    Precedence as in controller-runtime (pkg/client/config): the flag, $KUBECONFIG,
    the in-cluster ServiceAccount, ~/.kube/config.  Raises ConfigError.
    """
    config = Configuration()
    config.retries = False
    config.keep_alive = True
    path = kubeconfig or os.environ.get("KUBECONFIG") or ""
    if not path and not os.environ.get("KUBERNETES_SERVICE_HOST"):
        path = str(DEFAULT_KUBECONFIG.expanduser())
        if not Path(path).exists():
            raise ConfigError(
                "no cluster: give --kubeconfig, set KUBECONFIG, or run inside a cluster"
                f" ({DEFAULT_KUBECONFIG} does not exist)"
            )
    try:
        if path:
            load_kube_config(config_file=path, client_configuration=config)  # type: ignore[no-untyped-call]
        else:
            load_incluster_config(client_configuration=config)  # type: ignore[no-untyped-call]
    except (ConfigException, OSError, ValueError, TypeError) as error:
        raise ConfigError(f"cannot use kubeconfig {path or 'of this pod'}: {error}") from error
    return config


def pool(config: Configuration, connections: int) -> urllib3.PoolManager:
    """Return the official client's connection pool: its TLS, proxy and keepalive settings."""
    from kubernetes.client.rest import RESTClientObject

    config.connection_pool_maxsize = connections
    manager: urllib3.PoolManager = RESTClientObject(config).pool_manager
    return manager
