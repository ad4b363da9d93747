"""The command line's values, checked against each other once and frozen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

OFF = "0"
"""A bind address that means: do not serve (controller-runtime's convention)."""


class OptionError(ValueError):
    """A value that cannot work; the message names the flag and what to write instead."""


@dataclass(frozen=True)
class Options:
    """How one operator process runs."""

    kubeconfig: str | None
    namespaces: tuple[str, ...]
    """Namespaces to look after; empty: all of them."""
    metrics_bind_address: str
    health_probe_bind_address: str
    workers: int
    max_deletions_per_minute: int
    """0: no limit."""
    max_deletions_percent: int
    """The share of all claims whose deletion within a minute opens the breaker; 0: none."""
    dry_run: bool
    leader_elect: bool
    leader_election_namespace: str
    log_format: Literal["plain", "json"]
    metrics_secure: bool = True
    """Serve metrics over HTTPS, to those whom the API server's RBAC lets read them."""
    metrics_cert_path: str = ""
    """Folder of the serving certificate; empty: a self-signed one."""
    metrics_cert_name: str = "tls.crt"
    metrics_cert_key: str = "tls.key"
    leader_elect_lease_duration: float = 15.0
    """Seconds after which others may take the lease of a leader that says nothing."""
    leader_elect_renew_deadline: float = 10.0
    """Seconds after which a leader that could not renew its lease gives up."""
    leader_elect_retry_period: float = 2.0
    """Seconds between two attempts to take or renew the lease."""
    kube_api_qps: float = -1.0
    """Requests per second, after a burst; 0 or less: as many as the API server admits."""
    kube_api_burst: int = 30
    reconcile_timeout: float = 0.0
    """Seconds that one reconcile may take; 0: any time."""

    def __post_init__(self) -> None:
        """Raise OptionError for what cannot work."""
        if not 1 <= self.workers <= 100:
            raise OptionError(f"--workers must be between 1 and 100, not {self.workers}")
        if self.max_deletions_per_minute < 0:
            raise OptionError("--max-deletions-per-minute must not be negative; 0 means no limit")
        if not 0 <= self.max_deletions_percent <= 100:
            raise OptionError("--max-deletions-percent must be between 0 (off) and 100")
        if self.kube_api_qps > 0 and self.kube_api_burst < 1:
            raise OptionError("--kube-api-burst must be at least 1 if --kube-api-qps limits")
        if self.reconcile_timeout < 0:
            raise OptionError("--reconcile-timeout must not be negative; 0 means no limit")
        self._check_election()
        for flag, address in (
            ("--metrics-bind-address", self.metrics_bind_address),
            ("--health-probe-bind-address", self.health_probe_bind_address),
        ):
            if address != OFF:
                _checked(flag, address)
        if self.metrics_cert_path and not self.metrics_secure:
            raise OptionError("--metrics-cert-path needs --metrics-secure: leave one of them out")

    def _check_election(self) -> None:
        if not self.leader_elect:
            return
        if not self.leader_election_namespace:
            raise OptionError(
                "--leader-elect needs --leader-election-namespace when not run in a cluster"
            )
        if not 1.2 * self.leader_elect_retry_period < self.leader_elect_renew_deadline:
            raise OptionError(
                "--leader-elect-renew-deadline must exceed 1.2 x --leader-elect-retry-period,"
                " or one attempt that fails would end the leadership"
            )
        # The Lease says whole seconds.
        if not self.leader_elect_renew_deadline < int(self.leader_elect_lease_duration):
            raise OptionError(
                "--leader-elect-lease-duration must exceed --leader-elect-renew-deadline,"
                " or two replicas could lead at once"
            )
        if self.leader_elect_retry_period <= 0:
            raise OptionError("--leader-elect-retry-period must be positive")


def _checked(flag: str, address: str) -> tuple[str, int]:
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise OptionError(f"{flag} must look like :8081 or 127.0.0.1:8081, or 0 for off: {address}")
    return host.strip("[]"), int(port)


def host_and_port(address: str) -> tuple[str, int]:
    """Return a checked bind address as (host, port); an empty host means every interface."""
    return _checked("bind address", address)
