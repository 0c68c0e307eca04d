"""A self-signed certificate for one address, made for the length of a test. Ed25519; DER written by hand."""

import base64
import ipaddress
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from nacl.signing import SigningKey

ED25519 = bytes.fromhex("06032b6570")
COMMON_NAME = bytes.fromhex("0603550403")
ALTERNATIVE_NAME = bytes.fromhex("0603551d11")
BASIC_CONSTRAINTS = bytes.fromhex("0603551d13")
SEQUENCE, SET, INTEGER, BITS, OCTETS, TEXT, TIME, BOOLEAN = 0x30, 0x31, 0x02, 0x03, 0x04, 0x0C, 0x17, 0x01


def der(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    if len(content) < 128:
        return bytes([tag, len(content)]) + content
    return bytes([tag, 0x82]) + len(content).to_bytes(2, "big") + content


def instant(at: datetime) -> bytes:
    return der(TIME, at.strftime("%y%m%d%H%M%SZ").encode())


def unsigned(key: SigningKey, address: str) -> bytes:
    name = der(SEQUENCE, der(SET, der(SEQUENCE, COMMON_NAME, der(TEXT, b"node"))))
    now = datetime.now(UTC)
    extensions = der(
        SEQUENCE,
        der(SEQUENCE, BASIC_CONSTRAINTS, der(OCTETS, der(SEQUENCE, der(BOOLEAN, b"\xff")))),
        der(SEQUENCE, ALTERNATIVE_NAME, der(OCTETS, der(SEQUENCE, der(0x87, ipaddress.ip_address(address).packed)))),
    )
    return der(
        SEQUENCE,
        der(0xA0, der(INTEGER, b"\x02")),
        der(INTEGER, b"\x01"),
        der(SEQUENCE, ED25519),
        name,
        der(SEQUENCE, instant(now - timedelta(days=1)), instant(now + timedelta(days=1))),
        name,
        der(SEQUENCE, der(SEQUENCE, ED25519), der(BITS, b"\x00", bytes(key.verify_key))),
        der(0xA3, extensions),
    )


def pem(label: str, data: bytes) -> str:
    return f"-----BEGIN {label}-----\n{base64.encodebytes(data).decode()}-----END {label}-----\n"


def make(directory: Path, address: str) -> tuple[Path, ssl.SSLContext]:
    """The file with the certificate, and the context of a server that shows it."""
    key = SigningKey.generate()
    body = unsigned(key, address)
    certificate = der(SEQUENCE, body, der(SEQUENCE, ED25519), der(BITS, b"\x00", key.sign(body).signature))
    private = der(SEQUENCE, der(INTEGER, b"\x00"), der(SEQUENCE, ED25519), der(OCTETS, der(OCTETS, bytes(key))))
    shown, hidden = directory / "certificate.pem", directory / "key.pem"
    shown.write_text(pem("CERTIFICATE", certificate))
    hidden.write_text(pem("PRIVATE KEY", private))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(shown, hidden)
    return shown, context
