"""The test cluster's certificates pass what Python 3.13 and later check by default."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from cluster.pki import Authority


@pytest.mark.parametrize("flags", [ssl.VERIFY_DEFAULT, ssl.VERIFY_X509_STRICT])
def test_a_server_is_trusted_by_those_who_know_its_authority(
    flags: ssl.VerifyFlags, tmp_path: Path
) -> None:
    authority = Authority()
    authority.server(["localhost"], ["127.0.0.1"]).write(tmp_path, "server")
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
    asking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    asking.load_verify_locations(cadata=authority.certificate.decode())
    asking.verify_flags |= flags

    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = serving.wrap_bio(there, back, server_side=True)
    client = asking.wrap_bio(back, there, server_hostname="localhost")
    for end in (client, server):
        with pytest.raises(ssl.SSLWantReadError):
            end.do_handshake()
    client.do_handshake()  # raises SSLCertVerificationError if it is not trusted
