"""The certificate a client is shown: made here, or read from files that may change.

Handshakes are made in memory: no socket is opened.
"""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from evc.serving import certificate
from evc.serving.certificate import Certificate, self_signed
from evc.serving.self_signed import LIFETIME, pair

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@dataclass
class News:
    reads: int = 0
    failures: int = 0

    def certificate_read(self) -> None:
        self.reads += 1

    def certificate_failed(self) -> None:
        self.failures += 1


def shown(context: ssl.SSLContext, *, alpn: tuple[str, ...] = ()) -> tuple[bytes, str | None]:
    """Shake hands in memory; return the certificate shown and the protocol chosen."""
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    if alpn:
        trusting.set_alpn_protocols([*alpn])
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting.wrap_bio(to_client, to_server)
    server = context.wrap_bio(to_server, to_client, server_side=True)
    waiting = [client, server, client, server]
    for side in waiting:
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    der = client.getpeercert(binary_form=True)
    assert der is not None
    return der, client.selected_alpn_protocol()


def write(folder: Path, pem: bytes) -> None:
    """Put key and certificate there as a Secret's volume does: new files under old names."""
    for name in ("tls.crt", "tls.key"):
        new = folder / f"{name}.new"
        new.write_bytes(pem)
        new.rename(folder / name)


def fresh() -> bytes:
    return pair(NOW)


def parsed(pem: bytes) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, fresh())
    return tmp_path


def watched(folder: Path, news: News) -> Certificate:
    return Certificate(folder / "tls.crt", folder / "tls.key", news)


class TestFiles:
    def test_the_certificate_in_the_files_is_shown(self, folder: Path) -> None:
        news = News()
        der, _ = shown(watched(folder, news)())
        assert der == parsed((folder / "tls.crt").read_bytes())
        assert (news.reads, news.failures) == (1, 0)

    def test_files_that_stay_are_not_read_again(self, folder: Path) -> None:
        news = News()
        tls = watched(folder, news)
        assert tls() is tls()
        assert news.reads == 1

    def test_a_rotated_certificate_is_shown_to_the_next_client(self, folder: Path) -> None:
        news = News()
        tls = watched(folder, news)
        before, _ = shown(tls())
        write(folder, fresh())
        after, _ = shown(tls())
        assert after != before
        assert after == parsed((folder / "tls.crt").read_bytes())
        assert tls() is tls()
        assert (news.reads, news.failures) == (2, 0)

    def test_what_does_not_fit_together_is_not_used(self, folder: Path) -> None:
        """The volume of a Secret was seen half exchanged."""
        news = News()
        tls = watched(folder, news)
        before, _ = shown(tls())
        pem = fresh()
        (folder / "tls.crt").write_bytes(pem)
        assert shown(tls())[0] == before
        assert (news.reads, news.failures) == (2, 1)
        (folder / "tls.key").write_bytes(pem)
        assert shown(tls())[0] == parsed(pem)
        assert (news.reads, news.failures) == (3, 1)

    @pytest.mark.parametrize("name", ["tls.crt", "tls.key"])
    def test_files_that_went_change_nothing_and_are_told(self, folder: Path, name: str) -> None:
        news = News()
        tls = watched(folder, news)
        before, _ = shown(tls())
        (folder / name).unlink()
        assert shown(tls())[0] == before
        assert (news.reads, news.failures) == (1, 1)

    @pytest.mark.parametrize("name", ["tls.crt", "tls.key"])
    @pytest.mark.parametrize("broken", [None, b"", b"not PEM"])
    def test_files_of_no_use_are_an_error_at_the_start(
        self, folder: Path, name: str, broken: bytes | None
    ) -> None:
        if broken is None:
            (folder / name).unlink()
        else:
            (folder / name).write_bytes(broken)
        with pytest.raises(OSError):  # noqa: PT011 - ssl.SSLError or FileNotFoundError
            watched(folder, News())

    def test_only_http_1_1_is_spoken(self, folder: Path) -> None:
        _, protocol = shown(watched(folder, News())(), alpn=("h2", "http/1.1"))
        assert protocol == "http/1.1"


class TestSelfSigned:
    def test_it_is_for_this_host_and_this_year(self) -> None:
        made = x509.load_der_x509_certificate(shown(self_signed(NOW))[0])
        assert made.not_valid_before_utc <= NOW - timedelta(minutes=30)
        assert made.not_valid_after_utc == NOW + LIFETIME
        names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == ["localhost"]

    def test_the_operator_does_not_load_the_library_that_makes_it(self) -> None:
        """It would cost a sixth of the memory of a small cluster's operator, for ever."""
        program = (
            "import sys; import evc.app; from evc.serving.certificate import self_signed;"
            "from datetime import datetime, UTC; self_signed(datetime.now(UTC));"
            "sys.exit('cryptography' in sys.modules)"
        )
        subprocess.run([sys.executable, "-c", program], check=True)

    def test_each_process_has_its_own(self) -> None:
        assert shown(self_signed(NOW))[0] != shown(self_signed(NOW))[0]

    def test_it_can_be_made_without_memory_files(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where the system is not Linux."""
        monkeypatch.delattr(os, "memfd_create")
        assert shown(self_signed(NOW))[0]

    def test_a_read_only_file_system_does_not_matter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(certificate.tempfile, "NamedTemporaryFile", None)
        assert shown(self_signed(NOW))[0]
