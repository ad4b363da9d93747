"""The few requests that booting a control plane needs, over the standard library alone."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

_TIMEOUT_SECONDS = 5.0


class Api:
    """Speaks JSON to the API server as the administrator."""

    def __init__(self, url: str, pki: Path) -> None:
        context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        context.load_cert_chain(pki / "admin.crt", pki / "admin.key")
        self._url = url
        # An empty ProxyHandler: a proxy from the environment must not see loopback requests.
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )

    def get(self, path: str) -> Any:
        """The decoded object at this path; raises OSError (HTTPError included) when refused."""
        return json.loads(self._send("GET", path, None))

    def answers(self, path: str) -> bool:
        """Whether the path is served with a success."""
        try:
            self._send("GET", path, None)
        except OSError:
            return False
        return True

    def create(self, path: str, item: dict[str, Any]) -> None:
        """Create the object; one that is there already is fine, so that this can be retried."""
        try:
            self._send("POST", path, json.dumps(item).encode())
        except urllib.error.HTTPError as error:
            if error.code != 409:
                raise

    def _send(self, method: str, path: str, body: bytes | None) -> bytes:
        request = urllib.request.Request(self._url + path, data=body, method=method)
        request.add_header("Content-Type", "application/json")
        with self._opener.open(request, timeout=_TIMEOUT_SECONDS) as response:
            content: bytes = response.read()
            return content
