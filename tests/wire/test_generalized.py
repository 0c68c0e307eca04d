"""`bridge.wire.generalized`: meta transactions are opened, and the channel of a generalized account is named."""

import re

from bridge.channel.identifier import Account
from bridge.channel.transaction import Kind
from bridge.wire import encoding
from bridge.wire.generalized import auth_id, channel_id, innermost
from bridge.wire.transaction import fields, unwrap
from tests.wire.test_recorded_transactions import files, transactions


def test_the_channel_of_a_generalized_initiator_has_the_id_its_node_told() -> None:
    """Real transcripts, in which no signature stands for the initiator."""
    named = 0
    for stem, _, found in transactions("corpus"):
        data = encoding.decode(found.text, "tx")
        if found.kind is not Kind.GA_META or fields(innermost(data).inner)[0] is not Kind.CREATE:
            continue
        _, create = fields(innermost(data).inner)
        told = set(re.findall(r"\"channel_id\": ?\"(ch_\w+)\"", files("corpus")[stem]))
        for meta in metas(data):
            if meta["ga_id"] == create["initiator"]:
                initiator, responder = Account(str(create["initiator"])), Account(str(create["responder"]))
                auth_data = meta["auth_data"]
                assert isinstance(auth_data, bytes)
                assert channel_id(initiator, auth_id(initiator, auth_data), responder) in told
                named += 1
    assert named >= 4


def metas(data: bytes) -> list[dict[str, object]]:
    """The meta transactions around the innermost one, the outermost first."""
    found: list[dict[str, object]] = []
    kind, values = fields(unwrap(data).inner)
    while kind is Kind.GA_META:
        found.append(dict(values))
        assert isinstance(values["tx"], bytes)
        kind, values = fields(unwrap(values["tx"]).inner)
    return found
