"""`python -m tests.contract.harvest`: makes `bridge/app/asyncapi/examples.json`, one example of every message.

An example is what a program wrote. First choice is a message of a whole world in virtual time (bridge, signer, client,
node); then an event of the channel's tables of tests; what neither meets is written by the function that writes it in
the product. Equal programs give an equal file. Takes about a minute.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from bridge.app.asyncapi import example
from bridge.app.asyncapi.message import MESSAGES, find_message
from bridge.channel.command import Query, Resolve
from bridge.channel.effect import Publish
from bridge.channel.identifier import ChannelName
from bridge.channel.input import ChannelErrored, ChannelLeft
from bridge.errors import BodyError
from bridge.sim.broker import MemoryBroker
from bridge.wire.body import ApprovalBody
from bridge.wire.envelope import Envelope, Received, seal, write_instant, write_json
from bridge.wire.incoming import read_command
from bridge.wire.outgoing import command_envelope, event_envelope
from bridge.wire.result import rejection_envelopes
from tests.channel import given
from tests.contract.judge import complaints
from tests.simulation.cast import Cast, account_of
from tests.simulation.plan import Plan, Step, draw_plan
from tests.simulation.world import run

FILE = Path(example.__file__).with_name("examples.json")
PREFIX = "channels"
FLOWS = ("transfer", "deposit", "withdraw", "message", "shutdown")
SEEDS = range(150)
NAME = ChannelName("acme-7")
REAL = {
    given.INITIATOR: account_of("initiator"),
    given.RESPONDER: account_of("responder"),
    given.CHANNEL: "ch_2os4a9cAVqv2Thkw1iCiBnMeiM3YskiBLXSXBg8SJuWtbSKH4w",
}
"""The tables of tests have names of their own for accounts and channel, which are none."""

Found = dict[str, dict[str, Any]]


class Harvest:
    def __init__(self) -> None:
        self.found: Found = {}

    def take(self, exchange: str, routing_key: str, headers: dict[str, str], body: bytes) -> None:
        """The first of its kind that is as the contract says."""
        kind = exchange.partition(".")[2]
        message = find_message(kind, routing_key)
        if message is None or message.name in self.found:
            return
        is_letter = kind == "dead-letters"
        value = body.decode() if is_letter else json.loads(body)
        if not is_letter and complaints(kind, routing_key, value):
            return
        self.found[message.name] = {
            "message": message.name,
            "exchange": exchange,
            "routing_key": routing_key,
            "headers": headers,
            "body": value,
        }

    def take_envelope(self, envelope: Envelope) -> None:
        self.take(envelope.exchange, envelope.routing_key, dict(envelope.headers), envelope.body)

    def take_publish(self, publish: Publish, channel: given.Channel) -> None:
        self.take_envelope(_event(publish, round_=channel.state.round, at=channel.now))

    def body(self, name: str) -> Any:
        return self.found[name]["body"]


def _event(publish: Publish, *, round_: int, at: float) -> Envelope:
    envelope, _ = event_envelope(
        PREFIX, NAME, publish, seq=12, prev="0" * 64, round=round_, channel_id=given.CHANNEL, epoch=1, at=at
    )
    text = envelope.body.decode()
    for made_up, real in REAL.items():
        text = text.replace(made_up, real)
    return Envelope(
        envelope.exchange,
        envelope.routing_key,
        text.encode(),
        envelope.headers,
        envelope.type,
        envelope.correlation_id,
        at,
    )


# --- worlds ---------------------------------------------------------------------------------------------------


def _plans() -> Iterator[Plan]:
    """A plain day first, then days on which things break."""
    steps = tuple(Step(0.5 * number, "initiator", kind, 1_000_000 + number) for number, kind in enumerate(FLOWS))
    yield Plan(1, is_split=False, steps=tuple(_without_amount(step) for step in steps), heals_at=5.0)
    hour = (Step(0.5, "initiator", "transfer", 1_000_000), Step(4000.0, "initiator", "transfer", 1_000_001))
    yield Plan(2, is_split=False, steps=hour, heals_at=4001.0)  # long enough for what is told by the clock
    yield from (plan for plan in map(draw_plan, SEEDS) if not plan.is_split)


def _without_amount(step: Step) -> Step:
    return Step(step.at, step.role, step.kind) if step.kind in ("message", "shutdown") else step


def from_worlds(harvest: Harvest) -> None:
    accept = MemoryBroker.accept

    def note(self: MemoryBroker, user: str, received: Received, *, mandatory: bool) -> Any:
        headers = {key: str(value) for key, value in received.headers.items()}
        harvest.take(received.exchange, received.routing_key, headers, received.body)
        return accept(self, user, received, mandatory=mandatory)

    with patch.object(MemoryBroker, "accept", note), patch.object(Cast, "prefix", lambda *_: PREFIX):
        for plan in _plans():
            run(plan)


# --- tables ---------------------------------------------------------------------------------------------------


def from_tables(harvest: Harvest) -> None:
    give = given.Channel.give

    def note(self: given.Channel, *inputs: Any) -> given.Channel:
        channel = give(self, *inputs)
        for effect in channel.last:
            if isinstance(effect, Publish):
                harvest.take_publish(effect, channel)
        return channel

    with patch.object(given.Channel, "give", note):
        if (
            pytest.main(
                ["tests/channel", "-q", "--assert=plain", "-p", "no:cacheprovider", "--no-header", "--no-summary"]
            )
            != 0
        ):
            raise RuntimeError("the tables do not hold: no examples from a broken program")


# --- the rest -------------------------------------------------------------------------------------------------


def from_writers(harvest: Harvest) -> None:
    at = given.START
    issued = given.ISSUED
    target = harvest.body("event.deposit.in_doubt")["data"]["command_id"]
    resolve = Resolve(command_id="r-1", issued_at=issued, target=target, outcome="failed", reason="the books say no")
    for command in (Query(command_id="q-1", issued_at=issued, what="balances"), resolve):
        harvest.take_envelope(command_envelope(PREFIX, NAME, command, at=at))
    question = harvest.body("event.command.approval_requested")["data"]
    answer = ApprovalBody(
        approval_request_id=question["approval_request_id"], body_hash=question["body_hash"], decision="approve"
    )
    harvest.take_envelope(_approval(answer, at))
    harvest.take_envelope(_letter(at))
    closed = {"tx_hash": harvest.body("event.shutdown.succeeded")["data"]["tx_hash"]}
    halted = {"sentence": "the bridge halted this channel: InvariantViolation", "round": 7}
    lost = {"routing_key": f"{NAME}.info.state", "sentence": f"no queue takes {NAME}.info.state of {PREFIX}.events"}
    for publish in (
        *_reports(),
        Publish("info", "closed_on_chain", closed),
        Publish("alarm", "invariant_violation", halted),
        Publish("alarm", "event_unroutable", lost),
        *_siblings(harvest),
    ):
        harvest.take_envelope(_event(publish, round_=7, at=at))


def _reports() -> Iterator[Publish]:
    """What a node may say at any time."""
    for report in (ChannelLeft(raw="{}"), ChannelErrored(message="the peer sent an invalid message", raw="{}")):
        yield from (effect for effect in given.opened().give(report).last if isinstance(effect, Publish))


def _siblings(harvest: Harvest) -> Iterator[Publish]:
    """Lines of one model: what is written for one family is written for the other."""
    models = {message.model: message for message in MESSAGES if message.name in harvest.found}
    for message in MESSAGES:
        event = message.event
        if event is not None and not event.is_open and message.name not in harvest.found and message.model in models:
            yield Publish(event.family, event.name, harvest.body(models[message.model].name)["data"])


def _approval(answer: ApprovalBody, at: float) -> Envelope:
    return seal(
        f"{PREFIX}.approvals",
        NAME,
        write_json(answer.model_dump(mode="json", exclude_none=True)),
        source="/approvers",
        event_id=f"approval:{answer.approval_request_id}",
        event_type="channel-bridge.approval.v1",
        subject=NAME,
        at=at,
        correlation_id=None,
    )


def _letter(at: float) -> Envelope:
    body = json.dumps({"command_id": "t-9", "issued_at": write_instant(at), "amount": "-5"}).encode()
    received = Received(
        f"{PREFIX}.commands",
        f"{NAME}.deposit",
        body,
        user_id="shop",
        queue=f"{PREFIX}.commands",
        content_type="application/json",
    )
    try:
        read_command(received, channels={NAME}, now=given.ISSUED)
    except BodyError as error:
        return rejection_envelopes(PREFIX, received, error, at=at)[-1]
    raise RuntimeError("a negative amount was accepted")


def main() -> int:
    harvest = Harvest()
    from_worlds(harvest)
    from_tables(harvest)
    from_writers(harvest)
    missing = [message.name for message in MESSAGES if message.name not in harvest.found]
    if missing:
        print("no example of", *missing, file=sys.stderr)
        return 1
    entries = [harvest.found[message.name] for message in MESSAGES]
    FILE.write_text(json.dumps(entries, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"examples of {len(entries)} messages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
