"""Says in one sentence why a TLS handshake failed, for every wall that speaks TLS.

The libraries wrap the reason in errors of their own and OpenSSL names it by a word of its source. Only what a
person has to mend counts as a refusal here; a socket that breaks in the middle of a handshake is no refusal.
Never quotes a key, an address or a certificate's content. Source: guarantees.md 5.5; OpenSSL's
`sslerr.h` and `x509_vfy.h`.
"""

import ssl
from collections.abc import Iterator

_EXPIRED, _SELF_SIGNED, _SELF_SIGNED_ROOT, _NO_ISSUER, _UNVERIFIABLE = 10, 18, 19, 20, 21
_OTHER_HOST, _OTHER_ADDRESS = 62, 64

_UNTRUSTED = "nobody we trust has signed its certificate"
_OTHER = "its certificate is for another host"
_CERTIFICATE = {
    _EXPIRED: "its certificate has expired",
    _SELF_SIGNED: "its certificate is self-signed and not among those we trust",
    _SELF_SIGNED_ROOT: _UNTRUSTED,
    _NO_ISSUER: _UNTRUSTED,
    _UNVERIFIABLE: _UNTRUSTED,
    _OTHER_HOST: _OTHER,
    _OTHER_ADDRESS: _OTHER,
}
_OLD = "it offers no TLS 1.2 or later"
_OURS = "it does not take our client certificate"
_ALERT = {
    "UNSUPPORTED_PROTOCOL": _OLD,
    "TLSV1_ALERT_PROTOCOL_VERSION": _OLD,
    "WRONG_VERSION_NUMBER": "it answers with something that is no TLS",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it demands a client certificate and we have none",
    # TLS 1.2 has no word of its own for a certificate that is missing.
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "it demands a client certificate and we have none, or no cipher suits both",
    "SSLV3_ALERT_BAD_CERTIFICATE": _OURS,
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": _OURS,
    "SSLV3_ALERT_CERTIFICATE_REVOKED": _OURS,
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": _OURS,
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": _OURS,
    "TLSV1_ALERT_UNKNOWN_CA": _OURS,
    "TLSV1_ALERT_ACCESS_DENIED": _OURS,
}


def explain(error: BaseException) -> str | None:
    """Why the other side was refused, or refused us; None if TLS is not what failed, or only for the moment."""
    for one in _chain(error):
        if isinstance(one, ssl.SSLCertVerificationError):
            return _CERTIFICATE.get(one.verify_code, f"its certificate is refused: {one.verify_message}")
        if isinstance(one, ssl.SSLError) and one.reason in _ALERT:
            return _ALERT[one.reason]
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what it came from, however deep."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or one.__context__
