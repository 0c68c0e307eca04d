"""`bridge.wire.trace`: the trace of a command, carried on and never mended."""

import pytest

from bridge.wire.envelope import Envelope
from bridge.wire.trace import Trace, carry, read_trace

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    ("headers", "trace"),
    [
        ({"traceparent": PARENT}, Trace(PARENT)),
        ({"traceparent": PARENT, "tracestate": "a=1,b=2"}, Trace(PARENT, "a=1,b=2")),
        ({"tracestate": "a=1"}, Trace()),
        ({"traceparent": PARENT.upper(), "tracestate": "a=1"}, Trace()),
        ({"traceparent": "ff" + PARENT[2:]}, Trace()),
        ({"traceparent": f"00-{'0' * 32}-b7ad6b7169203331-01"}, Trace()),
        ({"traceparent": f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01"}, Trace()),
        ({"traceparent": PARENT + "\n"}, Trace()),
        ({"traceparent": 7}, Trace()),
        ({"traceparent": PARENT, "tracestate": "a" * 513}, Trace(PARENT)),
        ({"traceparent": PARENT, "tracestate": "ä=1"}, Trace(PARENT)),
    ],
)
def test_header_that_is_no_trace_is_dropped(headers: dict[str, object], trace: Trace) -> None:
    """What we pass on enters other people's tools: only what the standard allows."""
    assert read_trace(headers) == trace


def test_trace_stands_beside_the_headers_of_the_event() -> None:
    """Nothing else of the envelope changes, so a repeat is still a repeat."""
    envelope = Envelope("x", "k", b"{}", {"ce-id": "1"}, "t", None, 0.0)
    assert carry(envelope, Trace()) is envelope
    assert carry(envelope, Trace(PARENT, "a=1")).headers == {"ce-id": "1", "traceparent": PARENT, "tracestate": "a=1"}
    assert carry(envelope, Trace(PARENT)).body == envelope.body
