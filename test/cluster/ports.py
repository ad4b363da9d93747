"""Free loopback ports for the control plane's servers."""

from __future__ import annotations

import random
import socket
from pathlib import Path

LOOPBACK = "127.0.0.1"
_EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST = 10_000


def free_ports(count: int) -> list[int]:
    """`count` different ports that nothing listens on now.

    They are chosen below the kernel's ephemeral range: a port inside it can be taken by any
    outgoing connection while a restarted API server is down, and a client that keeps dialling a
    dead port of that range can even connect to itself. Another process may still take one before
    we bind it; the boot retries with new ones then.
    """
    highest = int(_EPHEMERAL_RANGE.read_text().split()[0])
    ports: list[int] = []
    for port in random.sample(range(_LOWEST, highest), k=highest - _LOWEST):
        if _is_free(port):
            ports.append(port)
        if len(ports) == count:
            break
    return ports


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True
