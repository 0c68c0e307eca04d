"""Text from the node without its secret: what may be kept as evidence, published or logged.

The only secret a frame can hold is the `fsm_id`, the credential for re-attaching. It is masked wherever a key
names it, readable as JSON or not, and wherever a text has its shape. Never returns part of one.
Source: protocol.md A.3 and C.3; its shape (32 bytes and a checksum, base64) from the recordings.
"""

import re

MASK = "ba_…"
EXCERPT_BYTES = 1_000
_SCANNED = 64 * 1024
"""Characters masked before an excerpt is cut: masks shorten, so more than the excerpt has to be looked at."""

# As JSON, as JSON inside a JSON string, as Erlang or Python would print it, and as a query parameter. What
# closes the value is left standing; it may be missing, because a frame can be cut anywhere. A run of backslashes
# is tried once, from its beginning: tried from each of its places it would cost the square of its length.
_NAMED = re.compile(
    r"""("(?:existing_)?fsm_id"\s*:\s*")(?:[^"\\]|\\.)*+"""
    r"""|((?<!\\)\\++"(?:existing_)?fsm_id\\++"\s*:\s*\\++")(?:[^"\\]|\\++/)*+"""
    r"""|('(?:existing_)?fsm_id'\s*:\s*')[^']*+"""
    r"""|(fsm_id=)(?:[^&\s"'\\]|\\/)*+""",
    re.DOTALL,
)
# 36 bytes are 48 characters; JSON may write the slash as `\/`. Longer byte arrays are other things. The bound is
# small, so trying again costs little; a possessive one finds too little in Python 3.11.2.
_SHAPED = re.compile(r"ba[_$](?:(?!ba[_$])(?:[A-Za-z0-9+=]|\\?/)){40,60}(?:(?=ba[_$])|(?![A-Za-z0-9+/=]|\\/))")


def mask(text: str) -> str:
    """The same text with every `fsm_id` in it replaced by `ba_…`."""
    if "fsm_id" in text:
        text = _NAMED.sub(rf"\g<1>\g<2>\g<3>\g<4>{MASK}", text)
    return _SHAPED.sub(MASK, text) if "ba" in text else text


def excerpt(text: str | bytes) -> str:
    """The first 1,000 bytes, masked, cut between characters: evidence of a text that is no frame."""
    if isinstance(text, bytes):
        text = text[:_SCANNED].decode("utf-8", "replace")
    data = mask(text[:_SCANNED]).encode("utf-8", "replace")
    return data[:EXCERPT_BYTES].decode("utf-8", "ignore")
