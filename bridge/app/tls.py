"""Makes the TLS side of every connection: who is trusted, what we show, and nothing below TLS 1.2.

One context for the broker, one for each node, each from files that an option names; the system's authorities
where none does. Certificate and host name are always verified: there is no option against it. A private key is
a secret file. Findings name files and never their content. Source: guarantees.md 5.5.
"""

import ssl
from functools import cache
from pathlib import Path

from bridge.errors import ConfigInvalid, Finding
from bridge.signing.secret import read_secret

OLDEST = ssl.TLSVersion.TLSv1_2


def make_context(
    ca_file: Path | None = None,
    certificate_file: Path | None = None,
    key_file: Path | None = None,
    key_password_file: Path | None = None,
) -> ssl.SSLContext:
    """For a client. Blocks for some milliseconds. Raises `ConfigInvalid` with one finding."""
    if ca_file is None and certificate_file is None and key_file is None:
        return _system()
    context = ssl.create_default_context() if ca_file is None else _trusting(ca_file)
    context.minimum_version = OLDEST
    if certificate_file is not None and key_file is not None:
        load_own(context, certificate_file, key_file, key_password_file)
    elif certificate_file is not None or key_file is not None:
        present, absent = ("certificate_file", "key_file") if key_file is None else ("key_file", "certificate_file")
        raise ConfigInvalid((Finding(absent, "nothing", f"the other half of {present}"),))
    return context


@cache
def _system() -> ssl.SSLContext:
    """Read once: it takes tens of milliseconds, in which nothing else runs."""
    context = ssl.create_default_context()
    context.minimum_version = OLDEST
    return context


def _trusting(path: Path) -> ssl.SSLContext:
    """Certificates are public: whoever may read the file. They replace the system's."""
    # Not `create_default_context`: of an empty text it makes the system's authorities.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=path.read_text(encoding="utf-8"))
    except (ssl.SSLError, ValueError) as error:
        found = "bytes that are no certificates"
        raise ConfigInvalid((Finding(str(path), found, "certificates in PEM"),)) from error
    except OSError as error:
        raise ConfigInvalid((Finding(str(path), error.strerror or "unreadable", "certificates in PEM"),)) from error
    return context


def load_own(context: ssl.SSLContext, certificate: Path, key: Path, password_file: Path | None = None) -> None:
    """What we show, from the next handshake on. Raises `ConfigInvalid`."""
    read_secret(key)  # refuses one that others can read
    password = "" if password_file is None else read_secret(password_file)
    try:
        # Always a password: without one OpenSSL would ask on the terminal for that of an encrypted key.
        context.load_cert_chain(certificate, key, password)
    except OSError as error:
        # Not chained: what OpenSSL quotes of a key file is its own decision.
        found = "no pair" if isinstance(error, ssl.SSLError) else error.strerror or "unreadable"
        expected = "a certificate in PEM, and its key with the right password"
        raise ConfigInvalid((Finding(f"{certificate}, {key}", found, expected),)) from None


def make_server_context(certificate: Path | None, key: Path | None) -> ssl.SSLContext:
    """For a server: our certificate and its key. Raises `ConfigInvalid`."""
    if certificate is None or key is None:
        absent = "http.certificate_file" if certificate is None else "http.key_file"
        raise ConfigInvalid((Finding(absent, "nothing", "both, certificate_file and key_file"),))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = OLDEST
    load_own(context, certificate, key)
    return context
