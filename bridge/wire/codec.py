"""Which dialect a channel's node speaks. The only place that knows both."""

from typing import assert_never

from bridge.channel.terms import Dialect
from bridge.wire.dialect import Codec
from bridge.wire.jsonrpc import JsonRpc
from bridge.wire.legacy import Legacy


def codec_for(dialect: Dialect) -> Codec:
    """The codec of one channel. It keeps nothing between frames and may be shared."""
    match dialect:
        case Dialect.JSON_RPC:
            return JsonRpc()
        case Dialect.LEGACY_SEED | Dialect.LEGACY_LATE:
            return Legacy(dialect)
        case _:
            assert_never(dialect)
