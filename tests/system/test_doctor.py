"""`channel-bridge doctor`: each thing broken on purpose is found, explained, and its advice read."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bridge.app.cli import app
from bridge.app.cli.terminal import WRONG_CONFIG
from bridge.app.deadletter import REFUSALS
from bridge.app.doctor.advice import Check
from bridge.broker.connection import Connection
from bridge.broker.private import PrivateBroker
from bridge.broker.topology import Names, Queue, declare
from bridge.broker.topology import plan as topology_of
from bridge.channel.identifier import ChannelName
from bridge.journal.journal import FILE, Journal
from bridge.journal.record import Batch, EventRow
from tests.broker.people import ALICE_ACCOUNT, BOB_ACCOUNT, PREFIX
from tests.system.house import House, Pair, house
from tests.system.test_dead_letter import PAGE, config

PAIR = Pair("today")
UNUSED = 9
"""A port on which nothing listens."""


@dataclass
class Ward:
    """A house whose configuration a test breaks, and the doctor's word on it."""

    home: House
    toml: Path

    def change(self, old: str, new: str) -> None:
        text = self.toml.read_text()
        assert old in text
        self.toml.write_text(text.replace(old, new))

    async def visit(self, url: str | None = None, **environ: str) -> tuple[int, dict[str, list[dict[str, Any]]]]:
        """Exit code and findings by code."""
        given = {"AMQP_URL": url or self.home.url, **environ}
        words = ["doctor", "-c", str(self.toml), "--json"]
        result = await asyncio.to_thread(CliRunner().invoke, app, words, env=given)
        told = json.loads(result.output)
        found: dict[str, list[dict[str, Any]]] = {}
        for one in told["found"]:
            found.setdefault(one["code"], []).append(one)
        assert told["ok"] is (result.exit_code == 0)
        return result.exit_code, found

    async def act(self, work: Callable[[Any], Any]) -> None:
        """Something done to the broker behind everybody's back."""
        async with Connection(self.home.url, "vandal") as connection:
            amqp_channel = await connection.amqp_channel()
            await work(await amqp_channel.raw.get_underlay_channel())


@pytest.fixture
async def ward(amqp_url: str, tmp_path: Path) -> AsyncIterator[Ward]:
    async with house(amqp_url, tmp_path, PAIR) as home:
        await home.opened()
        yield Ward(home, config(home))


def one(found: dict[str, list[dict[str, Any]]], check: Check) -> dict[str, Any]:
    [advice] = found[check.value]
    return advice


async def test_a_house_in_order_needs_nothing(ward: Ward) -> None:
    """Its one user may do too much, which is a note: the exit code says that all is well."""
    status, found = await ward.visit()
    assert (status, set(found)) == (0, {Check.PERMISSION_UNNEEDED})


async def test_a_wrong_queue_argument_is_named_with_both_values(ward: Ward) -> None:
    names = Names(ward.home.prefix)
    [planned] = [queue for queue in topology_of(ward.home.prefix, ()).queues if queue.name == names.approvals]
    wrong = Queue(planned.name, {**planned.arguments, "x-max-length": 5})

    async def remake(underlay: Any) -> None:
        await underlay.queue_delete(planned.name)
        await underlay.queue_declare(wrong.name, durable=True, arguments=dict(wrong.arguments))
        await underlay.queue_bind(wrong.name, names.approvals, "#")

    await ward.act(remake)
    status, found = await ward.visit()
    advice = one(found, Check.ARGUMENT_DIFFERS)
    assert (status, advice["level"]) == (1, "error")
    assert advice["sentence"] == f"the queue {planned.name} has x-max-length = 5, planned is 10000"
    assert f"rabbitmqctl delete_queue {planned.name};" in advice["fix"], "--if-empty deletes no quorum queue"
    assert f"channel-bridge topology apply -c {ward.toml}" in advice["fix"]


async def test_an_account_without_a_request_queue_is_named_with_its_channels(ward: Ward) -> None:
    account = PAIR.account("responder")
    queue = Names(ward.home.prefix).sign_request_queue(account)
    await ward.act(lambda underlay: underlay.queue_delete(queue))
    status, found = await ward.visit()
    advice = one(found, Check.ACCOUNT_WITHOUT_QUEUE)
    assert (status, advice["level"]) == (1, "error")
    assert account in advice["sentence"]
    assert PAIR.responder in advice["sentence"]
    assert f"topology apply -c {ward.toml}" in advice["fix"]


async def test_an_unreachable_node_is_named_and_the_rest_is_seen_all_the_same(ward: Ward) -> None:
    ward.change(f":{ward.home.node.port}/channel", f":{UNUSED}/channel")
    status, found = await ward.visit()
    advice = one(found, Check.NODE_UNREACHABLE)
    assert (status, advice["level"]) == (1, "error")
    assert f"ws://127.0.0.1:{UNUSED}/channel" in advice["sentence"]
    assert f"nodes.{PAIR.node}.url" in advice["fix"]
    assert f"nc -vz 127.0.0.1 {UNUSED}" in advice["fix"]
    assert Check.PERMISSION_UNNEEDED in found


async def test_a_node_of_another_chain_is_told_by_both_names(ward: Ward) -> None:
    ward.change('network_id = "ae_dev"', f'network_id = "ae_uat"\nchain_url = "http://127.0.0.1:{ward.home.node.port}"')
    _, found = await ward.visit()
    advice = one(found, Check.NETWORK_DIFFERS)
    assert "ae_dev" in advice["sentence"]
    assert "ae_uat" in advice["sentence"]
    assert advice["fix"].startswith(f'nodes.{PAIR.node}.network_id = "ae_dev"')


async def test_a_plain_text_broker_is_refused_with_what_to_write(ward: Ward) -> None:
    status, found = await ward.visit("amqp://bridge:secret@rabbit.example/")
    advice = one(found, Check.PLAIN_TEXT)
    assert (status, advice["level"], set(found)) == (1, "error", {Check.PLAIN_TEXT})
    assert "plain text" in advice["sentence"]
    assert "amqps://" in advice["fix"]
    assert "secret" not in json.dumps(found)


async def test_a_plain_text_broker_that_an_option_allows_is_still_told(ward: Ward) -> None:
    """`127.1` is this machine by a name that does not say so."""
    ward.change("[nodes.", 'broker.plain_hosts = ["127.1"]\n[nodes.')
    status, found = await ward.visit(ward.home.url.replace("127.0.0.1", "127.1"))
    advice = one(found, Check.PLAIN_TEXT)
    assert (status, advice["level"]) == (1, "warning")
    assert "127.1" in advice["sentence"]
    assert "take the host out of plain_hosts" in advice["fix"]


async def test_no_broker_and_a_wrong_password_are_two_things(ward: Ward) -> None:
    status, found = await ward.visit(f"amqp://bridge:hunter2@127.0.0.1:{UNUSED}/")
    assert (status, one(found, Check.BROKER_UNREACHABLE)["level"]) == (1, "error")
    assert "start the broker" in one(found, Check.BROKER_UNREACHABLE)["fix"]
    place = ward.home.url.rpartition("@")[2]
    status, found = await ward.visit(f"amqp://nobody:hunter2@{place}")
    assert "does not take this user or password" in one(found, Check.BROKER_REFUSED)["sentence"]
    assert "hunter2" not in json.dumps(found)


async def test_a_deadline_beyond_the_channels_timer_is_explained(ward: Ward) -> None:
    ward.change("[[channels]]", "[[channels]]\nsign_seconds = 501")
    status, found = await ward.visit()
    [first, _] = found[Check.DEADLINE_TOO_LONG]
    assert (status, "channels[0].sign_seconds is 501" in first["sentence"]) == (1, True)
    assert "less than timeout_sign, 500 seconds" in first["fix"]


async def test_a_secret_that_others_can_read_is_named(ward: Ward) -> None:
    (ward.home.directory / "journal.key").chmod(0o644)
    _, found = await ward.visit()
    assert "journal.key" in one(found, Check.SECRET_EXPOSED)["sentence"]
    assert "chmod 600" in one(found, Check.SECRET_EXPOSED)["fix"]


async def test_dead_letters_and_unrouted_messages_are_told(ward: Ward) -> None:
    """And how to look at them."""
    assert ward.home.client is not None
    await ward.home.client.send_raw(PAIR.initiator, "transfer", b"@@")
    await ward.home.until(lambda: next(iter(ward.home.dead_letters), None))
    await ward.act(lambda underlay: underlay.queue_unbind(*(Names(ward.home.prefix).commands,) * 2, "#"))
    await ward.home.client.send_raw(PAIR.initiator, "query", b"{}")
    status, found = await ward.visit()
    assert status == 1
    assert one(found, Check.DEAD_LETTERS)["fix"].endswith("channel-bridge dlq list")
    assert one(found, Check.UNROUTED)["fix"].endswith("channel-bridge dlq list --queue unrouted")


async def test_an_account_nobody_signs_for_is_told(ward: Ward) -> None:
    """Another account's queue, without a reader."""
    other = Pair("other").account("initiator")
    users = f'[[users]]\nname = "late"\nrole = "signer"\naccounts = ["{other}"]\n'
    ward.toml.write_text(ward.toml.read_text().replace(f'"{PAIR.account("initiator")}"', f'"{other}"') + users)
    names = Names(ward.home.prefix)
    queue = [one for one in topology_of(ward.home.prefix, [other]).queues if other in one.name]
    async with Connection(ward.home.url, "test") as connection:
        empty = replace(topology_of(ward.home.prefix, ()), exchanges=(), bindings=(), queues=tuple(queue))
        await declare(connection, empty)
    _, found = await ward.visit()
    assert other in one(found, Check.NO_SIGNER)["sentence"]
    await ward.act(lambda underlay: underlay.queue_delete(names.sign_request_queue(other)))


async def test_a_clock_behind_the_journal_is_told(ward: Ward) -> None:
    """Every deadline would be wrong."""
    await ward.home.stop_bridge()
    later = time.time() + 3600
    journal = await Journal.open(ward.home.directory / "data", ward.home.config().journal_key(), time.time)
    row = EventRow(ChannelName("x"), 1, "event:x:1", "x.y.z", "t", b"{}", {}, later)
    await journal.commit(Batch(channel=ChannelName("x"), events=(row,)))
    await journal.close()
    _, found = await ward.visit()
    assert "behind the newest event" in one(found, Check.CLOCK)["sentence"]
    assert Check.NO_BRIDGE in found


async def test_a_data_directory_others_may_look_into_is_told(ward: Ward) -> None:
    (ward.home.directory / "data").chmod(0o755)
    (ward.home.directory / "data" / FILE).chmod(0o644)
    _, found = await ward.visit()
    assert "mode 0755" in one(found, Check.DATA_DIR)["sentence"]
    assert one(found, Check.SECRET_EXPOSED)["fix"] == f"chmod 600 {ward.home.directory / 'data' / FILE}"


@pytest.fixture
def walled(tmp_path: Path) -> Path:
    """The configuration of the session's own broker, where each part has a user of its own."""
    (tmp_path / "journal.key").touch(mode=0o600)
    (tmp_path / "journal.key").write_text("ab" * 32)
    path = tmp_path / "bridge.toml"
    path.write_text(
        f"""
        data_dir = "data"
        prefix = "{PREFIX}"
        journal.key_file = "journal.key"
        [nodes.main]
        url = "ws://127.0.0.1:{UNUSED}/channel"
        network_id = "ae_dev"
        [[channels]]
        name = "acme-7"
        node = "main"
        role = "initiator"
        initiator = "{ALICE_ACCOUNT}"
        responder = "{BOB_ACCOUNT}"
        initiator_amount = 1000
        responder_amount = 500
        """
    )
    return path


def visit(path: Path, url: str, **environ: str) -> dict[str, list[dict[str, Any]]]:
    result = CliRunner().invoke(app, ["doctor", "-c", str(path), "--json"], env={"AMQP_URL": url, **environ})
    found: dict[str, list[dict[str, Any]]] = {}
    for told in json.loads(result.output)["found"]:
        found.setdefault(told["code"], []).append(told)
    return found


def test_a_missing_permission_is_named(private_broker: PrivateBroker, walled: Path) -> None:
    """A client's rights are not the bridge's, whose own are all it needs."""
    found = visit(walled, private_broker.url("bridge"))
    assert {Check.PERMISSION_MISSING, Check.PERMISSION_UNNEEDED}.isdisjoint(found)
    assert {Check.ARGUMENTS_NOT_SEEN, Check.NO_SIGNER, Check.NODE_UNREACHABLE} <= set(found)
    missing = visit(walled, private_broker.url("alice"))[Check.PERMISSION_MISSING]
    assert {advice["sentence"] for advice in missing} == {
        *(f"alice may not write to {PREFIX}.{word}" for word in ("results", "sign-requests", "events", "dead-letters")),
        "alice may not write to amq.default, which answers to reply_to need",
        *(f"alice may not read {PREFIX}.{word}" for word in ("commands", "sign-replies", "approvals")),
    }
    assert all(f"channel-bridge topology permissions -c {walled}" in advice["fix"] for advice in missing)


def test_arguments_are_seen_with_the_topology_users_rights(private_broker: PrivateBroker, walled: Path) -> None:
    """Lent by his URL in the environment, never among the arguments."""
    found = visit(walled, private_broker.url("bridge"), TOPOLOGY_AMQP_URL=private_broker.url("builder"))
    assert {Check.ARGUMENTS_NOT_SEEN, Check.ARGUMENT_DIFFERS}.isdisjoint(found)
    words = ["doctor", "-c", str(walled), "--topology-url", private_broker.url("builder")]
    result = CliRunner().invoke(app, words, env={"AMQP_URL": private_broker.url("bridge")})
    assert result.exit_code == WRONG_CONFIG
    assert "a password among the arguments" in result.output


def test_every_check_stands_in_the_page_and_no_other() -> None:
    """Whoever searches for a code finds what to do."""
    section = PAGE.partition("## Is anything wrong?")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    assert sorted(re.findall(r"`([a-z_]+)`", " ".join(rows))) == sorted(Check)


def test_every_refusal_of_a_replay_stands_in_the_page() -> None:
    section = PAGE.partition("## A dead letter")[2].partition("\n## ")[0]
    assert [code for code in REFUSALS if f"| `{code}` |" not in section] == []
