"""Behind walls: a payment over TLS on every link, least privilege, and no secret where anybody could read it."""

import asyncio
import signal
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from bridge.broker.package import Program
from bridge.channel.terms import Role
from bridge.journal.journal import FILE
from tests.broker.test_matrix import ALLOWED, Act, Trier, acts
from tests.system.walled import JOURNAL_KEY, KEY_PASSWORD, PAIR, Walled, password_of, walled

pytestmark = pytest.mark.timeout(400)
"""Seconds: processes, a broker and its tools start one after the other, on a machine that may be busy."""


@pytest.fixture
async def made(tmp_path: Path, broker_program: Program) -> AsyncIterator[Walled]:
    async with walled(tmp_path, broker_program) as house:
        yield house


async def reattached(made: Walled, count: int) -> None:
    """Both sides are back after their socket was lost, for the so manieth time."""
    for name in (PAIR.initiator, PAIR.responder):
        await made.house.until(lambda name=name: len(made.house.find(name, "link.reattached")) >= count or None)  # type: ignore[misc]


async def test_new_passwords_and_certificates_count_without_a_restart(made: Walled) -> None:
    """password changed at the broker -> file written -> SIGHUP -> every connection cut X -> the next payment passes.

    A half-written file before that changes nothing.
    """
    assert (await made.pay(1000))["outcome"] == "succeeded"  # over TLS on both links
    assert made.broker is not None
    bridge = made.processes[-1]
    url_file = made.directory / "bridge.url"
    url_file.write_text("amqps:/")
    bridge.signal(signal.SIGHUP)
    await bridge.until_told("secrets_not_reloaded")
    await made.broker.control("change_password", "bridge", "marker-of-another-password")
    made.write_url("bridge", "marker-of-another-password")
    bridge.signal(signal.SIGHUP)
    await bridge.until_told("secrets_reloaded")
    await made.broker.control("close_all_user_connections", "bridge", "by the test")
    await bridge.until_told("CONNECTION_FORCED - by the test")  # however long the connection had lived
    assert (await made.pay(1001))["outcome"] == "succeeded"
    assert "marker-of-another-password" not in bridge.log + made.loud_file.read_text()


ALIKE = {
    "bridge": ("bridge",),
    "signer": ("signer-a",),
    "shop": ("alice", "bob"),
    "books": ("olga",),
    "otto": ("otto",),
}
"""Users of this house, and those of the matrix whose role they have."""
SHARE = 15
"""Acts that are tried by each of them."""


def forbidden(user: str) -> list[Act]:
    """What no user of that role may do, whatever the channel. The books are entitled to all events."""
    allowed = set().union(*(ALLOWED[one] for one in ALIKE[user]))
    everything = [act for act in acts() if act not in allowed]
    return [act for act in everything if (user, act.verb, act.what) != ("books", "bind", "events")]


@pytest.mark.fault
async def test_what_is_forbidden_is_refused_while_payments_pass(made: Walled) -> None:
    """A drawn share of the matrix, tried inside a house that works; the work notices nothing of it."""
    tried = asyncio.Event()

    async def pay_on() -> list[str]:
        """One payment after the other until all was tried, and one more."""
        outcomes: list[str] = []
        while not (tried.is_set() and outcomes):
            outcomes.append(str((await made.pay(1000 + len(outcomes)))["outcome"]))
        return [*outcomes, str((await made.pay(2000))["outcome"])]

    paying = asyncio.create_task(pay_on())
    random = Random(1)  # noqa: S311  # to repeat a draw
    passed = []
    for user in ALIKE:
        async with made.connection(user) as connection:
            trier = Trier(connection)
            drawn = random.sample(forbidden(user), SHARE)
            passed += [(user, act) for act in drawn if await trier.is_allowed(act)]
    tried.set()
    assert set(await paying) == {"succeeded"}
    assert passed == []
    assert not made.house.dead_letters, "something of it arrived"


async def test_no_secret_stands_where_anybody_could_read_it(made: Walled) -> None:
    """Payments, every kind of failure, a lost node, a kill and a start, with all libraries at DEBUG.

    Searched: logs as written and raw, events, results, dead letters, arguments, the data directory, outputs.
    """
    outputs = await drive(made)
    assert len(made.fsm_ids) >= 2
    texts = {
        "raw log": made.loud_file.read_text(),
        "arguments": "\n".join(arguments(one.process.pid) for one in made.processes if one.process.returncode is None),
        "data directory": journal_text(made),
        "outputs of commands": "\n".join(outputs),
        "messages": "\n".join(repr(received) for kind in made.house.received.values() for received in kind),
    }
    texts |= {f"log {number}": process.log for number, process in enumerate(made.processes)}
    assert all(texts.values())
    assert {where: made.found_in(text) for where, text in texts.items() if made.found_in(text)} == {}
    for library in ("aiormq", "aio_pika", "httpx", "asyncio"):  # of websockets only what is above DEBUG may be heard
        assert f"'name': '{library}" in texts["raw log"], f"{library} was not heard at all"


def arguments(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def journal_text(made: Walled) -> str:
    """Every byte of it; that the credentials are there at all, sealed, is looked at too."""
    with closing(sqlite3.connect(made.directory / "data" / FILE)) as connection:
        sealed = connection.execute("SELECT fsm_id FROM channel").fetchall()
    assert len(sealed) == 2
    assert all(len(one) > 60 for (one,) in sealed)
    return "".join(path.read_bytes().decode("latin-1") for path in (made.directory / "data").iterdir())


async def drive(made: Walled) -> list[str]:
    """Everything that can happen happens once. Returns what commands said."""
    house, node, bridge = made.house, made.node, made.processes[-1]
    assert house.client is not None
    assert (await made.pay(1000))["outcome"] == "succeeded"
    assert (await made.pay(10**26))["code"] == "insufficient_balance"
    refused = await house.run(PAIR.initiator, "withdraw", amount="5")
    assert refused["code"] == "sign_refused", refused
    await house.client.send_raw(PAIR.initiator, "transfer", b'{"command_id": "torn')
    await house.until(lambda: house.dead_letters or None)
    node.cut_all()
    await reattached(made, 1)
    channel_id = house.find(PAIR.initiator, "info.state", round=1)[0]["channel_id"]
    node.inject(channel_id, Role.INITIATOR, '{"jsonrpc": "2.0", "fsm_id": "' + min(made.fsm_ids))
    await house.event(PAIR.initiator, "alarm.protocol_violation")
    await bridge.kill()
    outputs = await ask_all(made)
    await made.start_bridge()
    assert (await made.pay(1001))["outcome"] == "succeeded"
    return outputs


async def ask_all(made: Walled) -> list[str]:
    """Commands that show something, and starts that fail in every way there is; no bridge runs meanwhile."""
    config = str(made.directory / "bridge.toml")
    shown = (
        ("config", "show"),
        ("topology", "show", "--json"),
        ("topology", "permissions"),
        ("rescue", PAIR.initiator),
    )
    asked = [await made.ask(*words, "-c", config) for words in shown]
    assert [code for code, _ in asked] == [0, 0, 0, 0], asked
    good = made.broker_url(password_of("bridge"))
    options = f'journal = "{JOURNAL_KEY}"\n[nodes.x]\nurl = "wss://u:{KEY_PASSWORD}@h/"'
    failed = {
        "wrong password of the broker": ("bridge.url", made.broker_url(password_of("shop")), 76, "broker_refused"),
        "wrong password of the TLS key": ("tls.password", password_of("shop"), 78, "config_invalid"),
        "another journal key": ("journal.key", JOURNAL_KEY[::-1], 74, "journal_unavailable"),
        "no journal key": ("journal.key", JOURNAL_KEY[1:], 78, "config_invalid"),
        "no URL": ("bridge.url", good.replace("amqps://", "amqps:/"), 78, "config_invalid"),
        "a plain URL": ("bridge.url", "amqp" + good[5:].replace("localhost", "rabbit.example"), 78, "tls_required"),
        "secrets as options": ("bridge.toml", options, 78, "config_invalid"),
    }
    for what, (name, text, expected, word) in failed.items():
        kept = (made.directory / name).read_text()
        made.write(name, text)
        code, said = await made.ask("run", "-c", config)
        made.write(name, kept.rstrip())
        assert (code, word in said) == (expected, True), (what, said)
        asked.append((code, said))
    return [said for _, said in asked]
