"""Certificates for the length of a test: an authority of our own, and whom it vouches for, and whom not."""

import ssl
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

HOST = "localhost"


@dataclass(frozen=True, slots=True)
class Pair:
    """The files of one certificate with its chain, and of its key (mode 0600)."""

    certificate: Path
    key: Path


class Authority:
    """Writes into `directory`, which must exist."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._ca = trustme.CA()
        self.ca_file = directory / "ca.pem"
        self._ca.cert_pem.write_to_path(str(self.ca_file))

    def issue(self, label: str, *names: str, password: str | None = None, expired: bool = False) -> Pair:
        """For these hosts and addresses; the first is the common name too."""
        now = datetime.now(UTC)
        ends = now - timedelta(hours=1) if expired else now + timedelta(days=1)
        begins = now - timedelta(days=2)
        leaf = self._ca.issue_cert(*names, common_name=names[0], not_before=begins, not_after=ends)
        return self._write(
            label, b"".join(blob.bytes() for blob in leaf.cert_chain_pems), leaf.private_key_pem, password
        )

    def stray(self, label: str, *names: str) -> Pair:
        """From an authority that nobody has heard of."""
        leaf = trustme.CA().issue_cert(*names, common_name=names[0])
        return self._write(label, leaf.cert_chain_pems[0].bytes(), leaf.private_key_pem, None)

    def self_signed(self, label: str) -> Pair:
        """Vouches for itself: the certificate of an authority, used by a server."""
        alone = trustme.CA()
        return self._write(label, alone.cert_pem.bytes(), alone.private_key_pem, None)

    def troubles(self) -> Mapping[str, tuple[Pair, str]]:
        """Servers that must be refused, each with what is said of it."""
        return {
            "self-signed": (self.self_signed("self-signed"), "its certificate is self-signed"),
            "unknown authority": (self.stray("stray", HOST, "127.0.0.1"), "nobody we trust has signed"),
            "expired": (self.issue("expired", HOST, "127.0.0.1", expired=True), "its certificate has expired"),
            "wrong host": (self.issue("wrong", "elsewhere.example"), "its certificate is for another host"),
        }

    def _write(self, label: str, chain: bytes, key: trustme.Blob, password: str | None) -> Pair:
        pair = Pair(self.directory / f"{label}.pem", self.directory / f"{label}.key")
        pair.certificate.write_bytes(chain)
        pair.key.touch(mode=0o600)
        pair.key.write_bytes(key.bytes() if password is None else _encrypt(key.bytes(), password))
        return pair

    def server(self, pair: Pair, *, demands_certificate: bool = False, is_old: bool = False) -> ssl.SSLContext:
        """A server's side. `is_old`: TLS 1.1 and no later."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        if demands_certificate:
            context.load_verify_locations(self.ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
        if is_old:
            _make_old(context)
        return context


def _make_old(context: ssl.SSLContext) -> None:
    context.set_ciphers("ALL:@SECLEVEL=0")  # above it OpenSSL itself has no TLS 1.1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1_1
        context.maximum_version = ssl.TLSVersion.TLSv1_1


def _encrypt(key: bytes, password: str) -> bytes:
    loaded = load_pem_private_key(key, None)
    return loaded.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password.encode()))
