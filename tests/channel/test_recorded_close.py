"""A real node's record of a channel whose payment stayed in doubt until the peer closed alone, frame by frame."""

import json

from bridge.channel.effect import Conclude, Publish
from bridge.channel.identifier import Account
from bridge.channel.input import CommandDue, LinkUp, Signed, SignReplied
from bridge.channel.terms import Dialect
from bridge.errors import Outcome
from bridge.wire.codec import codec_for
from bridge.wire.verdict import read_input
from tests.channel.given import Channel, terms, transfer
from tests.wire.recorded import Recorded, recording


def test_a_real_solo_close_settles_the_payment_in_doubt_by_what_was_paid_out() -> None:
    """conflict 3 -> the peer signs late, closes with that state and settles: 5 aettos have moved, and are told so."""
    lines = [line for line in recording("d_solo") if line.who == "initiator"]
    opening = lines[0].frame
    made = terms(
        network_id="ae_dev",
        initiator=Account(opening["initiator_id"]),
        responder=Account(opening["responder_id"]),
        initiator_amount=opening["initiator_amount"],
        responder_amount=opening["responder_amount"],
    )
    channel = Channel(made).give(LinkUp(resumed=False))
    for line in lines[1:]:
        follow(channel, line)
    channel.wait(1)
    told = [effect.outcome for effect in channel.all if isinstance(effect, Conclude)]
    assert told == [Outcome.IN_DOUBT, Outcome.SUCCEEDED]
    assert channel.state.initiator_balance == made.initiator_amount - 5
    alarms = [effect.name for effect in channel.all if isinstance(effect, Publish) and effect.family == "alarm"]
    assert alarms == []


def follow(channel: Channel, line: Recorded) -> None:
    """What the node said is an input; where the recorded client paid or signed, ours does."""
    if line.direction == "from_node":
        given = read_input(codec_for(Dialect.JSON_RPC), channel.terms, line.text)
        channel.give(given)
        return
    if line.frame["method"] == "channels.update.new":
        parties = {"from": line.frame["params"]["from"], "to": line.frame["params"]["to"]}
        channel.give(CommandDue(transfer(line.frame["params"]["amount"], **parties)))
    opened = channel.state.open_request
    if opened is not None:
        signed = str(json.loads(line.text)["params"]["signed_tx"])
        channel.give(SignReplied(opened.sign_request_id, "signer", Signed(signed, opened.transaction.hash)))
