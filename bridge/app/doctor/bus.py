"""The broker: whether it is there, what it is, what our user may do, and how exchanges and queues stand.

Nothing is published, taken or created (`bridge.broker.inspection`). What only the topology user can see is looked
at with his rights if they are at hand.
"""

import re
import ssl
from collections.abc import AsyncIterator, Iterator

from bridge.app.address import mask
from bridge.app.config import Config, terms
from bridge.app.deployment import plan
from bridge.app.doctor.advice import Advice, Check, error, note, warning
from bridge.broker.connection import Connection
from bridge.broker.inspection import may_read, may_write, read_difference, see_queue
from bridge.broker.permission import Role
from bridge.broker.topology import UNROUTED_LIMIT, Names, Topology, check, compare
from bridge.errors import BrokerRefused, BrokerUnavailable, BrokerUntrusted

LEAST_VERSION = (3, 10)
CALL_SECONDS = 5.0
HALF = 0.5


def connect(urls: list[str], context: ssl.SSLContext) -> Connection:
    return Connection(urls, "doctor", ssl_context=context, call_seconds=CALL_SECONDS)


def unreachable(url: str, reason: BrokerUnavailable, option: str) -> Advice:
    """Why there is no connection, and what that means for whoever mends it."""
    shown, words = mask(url), str(reason)
    if isinstance(reason, BrokerUntrusted):
        fix = "see docs/operations.md, TLS: the certificate, the name in the URL, or broker.tls.ca_file"
        return error(Check.TLS_REFUSED, f"{shown}: {words}", fix)
    if isinstance(reason, BrokerRefused) and "ACCESS_REFUSED" in words:
        fix = f"put the right password into the file {option} names, or: rabbitmqctl change_password USER PASSWORD"
        return error(Check.BROKER_REFUSED, f"{shown}: the broker does not take this user or password", fix)
    if isinstance(reason, BrokerRefused):
        fix = "rabbitmqctl list_vhosts and list_permissions: the virtual host in the URL, and this user's right to it"
        return error(Check.BROKER_REFUSED, f"{shown}: {words}", fix)
    fix = f"start the broker, or mend host and port in {option}; from here: nc -vz HOST PORT"
    return error(Check.BROKER_UNREACHABLE, f"{shown}: {words}", fix)


async def look(connection: Connection, config: Config, file: str) -> AsyncIterator[Advice]:
    """With the rights of the bridge's own user, over a connection that is up."""
    planned = plan(config)
    for advice in _version(connection.broker_version):
        yield advice
    missing = await check(connection, planned)
    for advice in _missing(missing, config, file):
        yield advice
    async for advice in _rights(connection, config.prefix, file, planned, missing):
        yield advice
    async for advice in _standing(connection, config, missing):
        yield advice


def _version(version: str) -> Iterator[Advice]:
    found = re.match(r"(\d+)\.(\d+)", version)
    if found is None:
        yield note(Check.BROKER_VERSION, f"the broker calls its version {version!r}: only RabbitMQ is known to work")
    elif (int(found[1]), int(found[2])) < LEAST_VERSION:
        yield error(
            Check.BROKER_VERSION, f"RabbitMQ {version} lacks what the queues need", "install RabbitMQ 3.10 or later"
        )


def _missing(missing: list[str], config: Config, file: str) -> Iterator[Advice]:
    fix = f"as the topology user: channel-bridge topology apply -c {file}"
    requests = Names(config.prefix).sign_request_queue("")
    for sentence in missing:
        name = sentence.split()[2]
        if name.startswith(requests) and "queue" in sentence:
            account = name.removeprefix(requests)
            channels = ", ".join(one.name for one, _ in terms(config) if one.own == account) or "no channel"
            why = f"the account {account} has no request queue, so nobody could be asked to sign for {channels}"
            yield error(Check.ACCOUNT_WITHOUT_QUEUE, f"{why}: {sentence}", fix)
        else:
            kind = Check.QUEUE_MISSING if "queue" in sentence.split()[:2] else Check.EXCHANGE_MISSING
            yield error(kind, sentence, fix)


async def _rights(
    connection: Connection, prefix: str, file: str, planned: Topology, missing: list[str]
) -> AsyncIterator[Advice]:
    names = Names(prefix)
    fix = (
        f"channel-bridge topology permissions -c {file} > definitions.json; rabbitmqctl import_definitions "
        f"definitions.json (with {connection.user} as a user of role bridge in [[users]])"
    )
    user, absent = connection.user, {sentence.split()[2] for sentence in missing}
    for exchange in (names.results, names.sign_requests, names.events, names.dead_letters, ""):
        if exchange not in absent and not await may_write(connection, exchange):
            what = exchange or "amq.default, which answers to reply_to need"
            yield error(Check.PERMISSION_MISSING, f"{user} may not write to {what}", fix)
    for queue in (names.commands, names.sign_replies, names.approvals):
        if queue not in absent and not await may_read(connection, queue):
            yield error(Check.PERMISSION_MISSING, f"{user} may not read {queue}", fix)
    if names.commands not in absent and await may_write(connection, names.commands):
        yield note(
            Check.PERMISSION_UNNEEDED,
            f"{user} may also write to {names.commands}: the bridge needs no such right, and whoever has its password"
            " could give commands",
            fix,
        )


async def _standing(connection: Connection, config: Config, missing: list[str]) -> AsyncIterator[Advice]:
    """What lies in the queues, and who reads them."""
    names = Names(config.prefix)
    seen = await see_queue(connection, names.commands)
    if seen is not None and seen.consumers == 0:
        yield note(
            Check.NO_BRIDGE, f"no bridge reads {names.commands} at the moment; {seen.messages} commands wait there"
        )
    for account in sorted({one.own for one, _ in terms(config)} | _signed_for(config)):
        queue = await see_queue(connection, names.sign_request_queue(account))
        if queue is not None and queue.consumers == 0:
            yield warning(
                Check.NO_SIGNER,
                f"no signer reads the requests of {account}; {queue.messages} wait",
                "start the signer of this account: channel-bridge signer -c SIGNER.toml",
            )
    letters = await see_queue(connection, names.dead_letters)
    if letters is not None and letters.messages:
        yield warning(
            Check.DEAD_LETTERS,
            f"{letters.messages} dead letters wait for somebody to look at them",
            "as an operator: channel-bridge dlq list",
        )
    async for advice in _unrouted(connection, names):
        yield advice


async def _unrouted(connection: Connection, names: Names) -> AsyncIterator[Advice]:
    seen = await see_queue(connection, names.unrouted)
    if seen is None or not seen.messages:
        return
    say = error if seen.messages >= HALF * UNROUTED_LIMIT else warning
    yield say(
        Check.UNROUTED,
        f"{seen.messages} messages found no queue; at {UNROUTED_LIMIT} the broker begins to refuse",
        "as an operator: channel-bridge dlq list --queue unrouted",
    )


def _signed_for(config: Config) -> set[str]:
    return {account for user in config.users if user.role is Role.SIGNER for account in user.accounts}


async def look_deeper(connection: Connection, config: Config, file: str, *, is_own: bool) -> AsyncIterator[Advice]:
    """Arguments, with the rights of who may create things. `is_own`: it is the bridge's own user who tries."""
    sentences = await compare(connection, plan(config))
    if any("ACCESS_REFUSED" in sentence for sentence in sentences):
        user = connection.user
        hint = "" if is_own else f" ({user} may not create everything)"
        yield note(
            Check.ARGUMENTS_NOT_SEEN,
            f"the arguments of exchanges and queues are seen by the topology user alone{hint}",
            "give his URL in TOPOLOGY_AMQP_URL or TOPOLOGY_AMQP_URL_FILE, or by --topology-url without a password",
        )
    elif is_own:
        yield note(
            Check.PERMISSION_UNNEEDED,
            f"{connection.user} may create exchanges and queues: the running bridge needs no such right",
            f"give the bridge a user of its own: channel-bridge topology permissions -c {file}",
        )
    for sentence in sentences:
        found = read_difference(sentence)
        if found is None:
            continue
        wrong = f"the {found.kind} {found.name} has {found.argument} = {found.found}, planned is {found.planned}"
        yield error(Check.ARGUMENT_DIFFERS, wrong, _remake(found.kind, found.name, file))


def _remake(kind: str, name: str, file: str) -> str:
    again = f"then as the topology user: channel-bridge topology apply -c {file}"
    if kind == "queue":
        # With --if-empty rabbitmqctl deletes no quorum queue, says so, and ends with 0.
        delete = f"wait until `rabbitmqctl list_queues name messages` shows 0, rabbitmqctl delete_queue {name}"
        return f"arguments never change: stop who writes to it, {delete}; {again}"
    return f"arguments never change: stop the bridge, delete the exchange {name} on the management page; {again}"
