"""Addresses of brokers and nodes: which are allowed, and how to show one without its password.

Plain connections go to loopback, or to a host that an option names (guarantees.md 5.5). Certificates are
always verified, so a URL that switches this off is refused.
"""

import ipaddress
from collections.abc import Collection
from urllib.parse import SplitResult, parse_qs, urlsplit, urlunsplit

from bridge.app.finding import write_found
from bridge.errors import Finding

BROKER_SCHEMES = ("amqps", "amqp")
NODE_SCHEMES = ("wss", "ws")
CHAIN_SCHEMES = ("https", "http")
_UNVERIFIED = ("no_verify_ssl", "verify_ssl", "verify")
_TLS_WORDS = ("cafile", "capath", "cadata", "certfile", "keyfile")
"""What the AMQP library would read from a URL, were it not given a context."""


class PlainFinding(Finding):
    """A plain connection that no option allows: code `tls_required`."""


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def split(url: str) -> SplitResult | None:
    """The parts, or None if it is no URL with a host and, where there is one, a port that is a number."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts if parts.hostname else None


def mask(url: str) -> str:
    """The URL as people may see it: neither password nor query."""
    parts = split(url)
    if parts is None:
        return "no URL"
    host = parts.netloc.rpartition("@")[2]
    user = f"{parts.username}@" if parts.username else ""
    query = "…" if parts.query else ""
    return urlunsplit((parts.scheme, user + host, parts.path, query, ""))


def has_password(url: str) -> bool:
    parts = split(url)
    return parts is not None and parts.password is not None


def is_plain_beyond_loopback(url: str, schemes: tuple[str, str]) -> bool:
    parts = split(url)
    return parts is not None and parts.scheme == schemes[1] and not is_loopback(parts.hostname or "")


def check(path: str, url: str, schemes: tuple[str, str], plain_hosts: Collection[str]) -> tuple[Finding, ...]:
    """Findings about one address. `schemes` are the one with TLS and the one without."""
    parts = split(url)
    if parts is None or parts.scheme not in schemes:
        return (Finding(path, write_found(mask(url)), f"a URL that begins with {schemes[0]}:// or {schemes[1]}://"),)
    if is_plain_beyond_loopback(url, schemes) and parts.hostname not in plain_hosts:
        expected = f"{schemes[0]}://, or the host named in plain_hosts"
        return (PlainFinding(path, write_found(mask(url)), expected),)
    query = parse_qs(parts.query, keep_blank_values=True)
    if any(word in query for word in _UNVERIFIED):
        return (Finding(path, "an option that switches verification off", "verified certificates, always"),)
    if any(word in query for word in _TLS_WORDS):
        return (Finding(path, "files of TLS in the URL", "the options under tls"),)
    return ()


def demands_certificate(url: str) -> bool:
    """Whether the broker is to know us by our certificate and not by a password."""
    parts = split(url)
    words = () if parts is None else parse_qs(parts.query).get("auth", ())
    return any(word.upper() == "EXTERNAL" for word in words)


def check_node(path: str, url: str, schemes: tuple[str, str], plain_hosts: Collection[str]) -> tuple[Finding, ...]:
    """The same for a node, whose URL has neither a user nor a query: these are the bridge's to write."""
    parts = split(url)
    if parts is not None and ("@" in parts.netloc or parts.query or parts.fragment):
        return (Finding(path, write_found(mask(url)), "a URL without user, query and fragment"),)
    return check(path, url, schemes, plain_hosts)
