"""W3C trace context on the bus: two headers of a command, kept with it and carried on by all it causes.

Nobody here looks into a trace; a header that is none is dropped, for it would break the trace of whoever reads ours.
Source: W3C Trace Context, Level 1, sections 3.2 and 3.3.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from bridge.wire.envelope import Envelope

_PARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_STATE = re.compile(r"[\x20-\x7e]{1,512}")


@dataclass(frozen=True, slots=True)
class Trace:
    """`state` says something only beside a `parent`."""

    parent: str | None = None
    state: str | None = None


def read_trace(headers: Mapping[str, object]) -> Trace:
    """What a message carries; nothing where it is malformed."""
    parent, state = headers.get("traceparent"), headers.get("tracestate")
    if not isinstance(parent, str) or not _PARENT.fullmatch(parent):
        return Trace()
    return Trace(parent, state if isinstance(state, str) and _STATE.fullmatch(state) else None)


def carry(envelope: Envelope, trace: Trace) -> Envelope:
    """The envelope with the trace among its headers. A repeat is the same bytes."""
    if trace.parent is None:
        return envelope
    headers = {**envelope.headers, "traceparent": trace.parent}
    return replace(envelope, headers=headers if trace.state is None else {**headers, "tracestate": trace.state})
