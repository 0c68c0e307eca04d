"""Each dialect of the configuration has its codec, and each codec keeps nothing."""

import json

import pytest

from bridge.channel.identifier import RequestId
from bridge.channel.input import InfoReported
from bridge.channel.request import AskShutdown
from bridge.channel.terms import Dialect
from bridge.wire.codec import codec_for
from bridge.wire.dialect import Codec
from bridge.wire.jsonrpc import JsonRpc
from bridge.wire.legacy import Legacy

FRAMES = {
    Dialect.JSON_RPC: {"jsonrpc": "2.0", "method": "channels.info", "params": {"data": {"event": "open"}}},
    Dialect.LEGACY_SEED: {"action": "info", "payload": {"event": "open"}},
    Dialect.LEGACY_LATE: {"action": "info", "payload": {"event": "open"}},
}


@pytest.mark.parametrize("dialect", Dialect)
def test_each_dialect_reads_its_own_frames(dialect: Dialect) -> None:
    """A channel whose node speaks another language than its codec would never open."""
    codec: Codec = codec_for(dialect)
    assert codec.decode(json.dumps(FRAMES[dialect])) == InfoReported(event="open")


def test_each_dialect_writes_its_own_frames() -> None:
    """The same request in the node's own words."""
    written = {dialect: json.loads(codec_for(dialect).encode(AskShutdown(RequestId(7)))) for dialect in Dialect}
    assert written[Dialect.JSON_RPC] == {
        "jsonrpc": "2.0",
        "method": "channels.shutdown",
        "params": {},
        "id": 7,
    }
    assert written[Dialect.LEGACY_SEED] == written[Dialect.LEGACY_LATE] == {"action": "shutdown"}


def test_only_the_oldest_profile_cannot_resume() -> None:
    """The supervisor stops trying there, and only there."""
    resumable = {dialect for dialect in Dialect if codec_for(dialect).is_resumable()}
    assert resumable == {Dialect.JSON_RPC, Dialect.LEGACY_LATE}
    assert isinstance(codec_for(Dialect.JSON_RPC), JsonRpc)
    assert isinstance(codec_for(Dialect.LEGACY_SEED), Legacy)
