"""One world: node, broker, bridges, signers and clients in virtual time, from a plan to a judged end.

The bridges, the signer service, the websockets library, the simulated node and the journal are the real ones. When
the plan's faults are over the world heals, runs until every command has its end, stops in order, and is judged.
"""

import asyncio
import gc
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from bridge.app.deployment import plan as plan_topology
from bridge.channel.identifier import ChannelName
from bridge.channel.terms import Dialect, Role
from bridge.sim.broker import MemoryBroker
from bridge.sim.fault import PeerDisconnected
from bridge.sim.nemesis import carry_out
from bridge.sim.server import SimulatedNode
from tests.oracle.evidence import Evidence, Pair
from tests.oracle.judgement import doubtful, judge
from tests.oracle.violation import Violation
from tests.oracle.witness import shows_loss
from tests.simulation import approver
from tests.simulation import cast as casting
from tests.simulation.cast import EPOCH, NETWORK, NODE_PORT, USER, Cast
from tests.simulation.client import Client
from tests.simulation.harvest import (
    find_channel,
    is_locked_out,
    is_too_late,
    read_booked,
    read_known,
    read_ledger,
    read_node,
    read_seqs,
    read_waiting,
)
from tests.simulation.log import keep_logs
from tests.simulation.loop import VirtualLoop
from tests.simulation.network import Network
from tests.simulation.plan import (
    FIRST_AMOUNT,
    ROLES,
    BusLoss,
    Cut,
    Fault,
    Freeze,
    HalfOpen,
    HeldConfirms,
    Kill,
    Mischief,
    Nacks,
    NodeRestart,
    NoticeLate,
    OnLink,
    Pause,
    PeerGone,
    Plan,
    Reuse,
    Step,
    Stop,
)
from tests.simulation.point import Point, Points
from tests.simulation.process import Process
from tests.simulation.rogue import reuse
from tests.simulation.surroundings import freeze, surroundings
from tests.simulation.troop import LOOK_SECONDS, Troop, aside, describe
from tests.simulation.trouble import CALL_SECONDS, Trouble
from tests.simulation.watch import Watch

OPENING_SECONDS = 60.0
QUIET_SECONDS = 2000.0
"""How long after the healing a command may take to come to its end; longer than any timer of node and bridge."""
LOST_SECONDS = 400.0
"""The same where the channel is lost: longer than the 150 s after which its operators are called."""
MEND_SECONDS = 90.0
"""How often an operator looks for commands in doubt."""
RETURN_SECONDS = 200.0
"""How long after the healing a channel may take to be open: the quiet time of 65 s after a reestablish, the minute for
which a bridge yields that was thrown out three times, or the 120 s (`timeout_accept`) for which a peer that is stuck in
an update can block a reestablish; and the longest pause between two tries after it.
"""
PAY_SECONDS = 15.0
"""How long a payment may take on an open channel: what is promised after the repair of broker and node."""
PROBE_AMOUNT = FIRST_AMOUNT + 1000
TAIL_SECONDS = 3.0
DISK = Path("/dev/shm")  # noqa: S108  # only if it is there: a world writes a few journals and forgets them


@dataclass(frozen=True)
class Ending:
    """What became of a world."""

    plan: Plan
    evidence: Evidence
    violations: tuple[Violation, ...]
    points: tuple[Point, ...]
    struck: int
    """How many of the plan's orders were carried out."""
    lines: tuple[str, ...]
    digest: str
    seconds: float
    """Virtual."""


def run(plan: Plan, *, is_traced: bool = False) -> Ending:
    """One world, from its beginning to its judgement. Leaves nothing behind."""
    freeze()
    directory = Path(tempfile.mkdtemp(prefix="world-", dir=DISK if DISK.is_dir() else None))
    try:
        with keep_logs(plan.has_logs) as log, surroundings(plan.seed):
            return World(plan, directory, is_traced=is_traced).run(log)
    finally:
        shutil.rmtree(directory)


class World:
    def __init__(self, plan: Plan, directory: Path, *, is_traced: bool) -> None:
        self.plan = plan
        self.points = Points(plan.orders, self.time, is_traced)
        self.watch = Watch(self.points, self._kill)
        self.loop = VirtualLoop(Random(f"loop {plan.seed}"), self.watch)  # noqa: S311  # to repeat a run
        self.network = Network(self.loop, f"network {plan.seed}", self.watch)
        self.loop.connect, self.loop.listen = self.network.connect, self.network.listen
        self.cast = Cast(plan.dialect, directory, plan.policy)
        self.node = SimulatedNode(network_id=NETWORK, port=NODE_PORT, seed=plan.seed)
        self.broker = MemoryBroker()
        self.trouble = Trouble()
        self.troop = Troop(plan, self.cast, self.points, self.broker, self.trouble, self.now)
        self._node_process = Process("node")
        self._directory = directory
        self._dead: list[Violation] = []
        self._probes = 0

    def time(self) -> float:
        return self.loop.time()

    def now(self) -> float:
        """What the clocks of all processes show."""
        return EPOCH + self.loop.time()

    def _kill(self, process: Process) -> None:
        self.troop.kill(process)

    # --- life ---------------------------------------------------------------------------------------------

    def run(self, log: Callable[[], str]) -> Ending:
        try:
            evidence = self.loop.run_until_complete(self._live(log))
        finally:
            self._clear()
        points = self.points
        return Ending(
            self.plan,
            evidence,
            (*judge(evidence), *self._own_violations(evidence)),
            tuple(points.seen),
            points.struck,
            tuple(points.lines),
            points.digest,
            self.loop.time(),
        )

    async def _live(self, log: Callable[[], str]) -> Evidence:
        await self._start_node()
        for name in self.plan.bridges:
            self.broker.declare(plan_topology(self.cast.config(name)))
        client = await self._start_client()
        await self._start_approvers()
        self.troop.begin()
        await self._until_open()
        if self.plan.is_reestablished:
            await self._restart_node(NodeRestart(0.0))
            await self._until_open()
        self.points.begin()
        await self._endure(client)
        self._look_for_proofs()
        self._heal()
        await self._settle(client)
        await self._pay_again(client)
        self.points.end()
        await asyncio.sleep(TAIL_SECONDS)
        pair = self._read_node()
        texts = await self.troop.read_metrics()
        await self.troop.stop()
        await asyncio.sleep(TAIL_SECONDS)
        if self.plan.has_logs:
            texts["log"] = log()
        return self._gather(client, pair, texts)

    async def _start_node(self) -> None:
        await self._node_process.spawn(self.node.start(), "node")

    async def _start_client(self) -> Client:
        bus = self.broker.session(USER)
        await bus.__aenter__()
        prefixes = {role: self.cast.prefix(self._bridge_of(role)) for role in ROLES}
        client = Client(self.cast, prefixes, bus.publisher())
        for prefix in dict.fromkeys(prefixes.values()):
            for label, key, into in (
                ("results", f"{USER}.#", client.results),
                ("events", "#", client.events),
                ("dead-letters", "#", client.letters),
            ):
                queue = self.broker.reader(prefix, USER, label, [(f"{prefix}.{label}", key)])
                aside(client.collect(bus.consumer(queue, prefetch=200), into), label)
        return client

    async def _start_approvers(self) -> None:
        """They die as little as the clients do."""
        if not self.plan.answers:
            return
        publishers = {}
        for name in dict.fromkeys(self.plan.answers):
            session = self.broker.session(name)
            await session.__aenter__()
            publishers[name] = session.publisher()
        for bridge in self.plan.bridges:
            prefix = self.cast.prefix(bridge)
            bus = self.broker.session(USER)
            await bus.__aenter__()
            key = "*.command.approval_requested"
            queue = self.broker.reader(prefix, USER, "questions", [(f"{prefix}.events", key)])
            consumer = bus.consumer(queue, prefetch=200)
            aside(approver.answer(consumer, prefix, self.plan.answers, publishers), f"approvers of {prefix}")

    def _clear(self) -> None:
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.run_until_complete(_turns())
        self.troop.clear()
        gc.collect()  # asyncio tells of an error that nobody looked at when its task is gone
        self.loop.close()

    async def _until(self, look: Callable[[], bool], latest: float = float("inf")) -> None:
        """Looks again and again: time costs nothing here."""
        while not look() and self.loop.time() < latest:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_SECONDS)

    async def _until_open(self) -> None:
        await self._until(self._is_open, self.loop.time() + OPENING_SECONDS)
        if not self._is_open():
            raise RuntimeError(f"the channel never opened: {self.troop.ended} {self.loop.errors}")

    def _is_open(self) -> bool:
        for role in ROLES:
            service = self.troop.services.get(self._bridge_of(role))
            worker = None if service is None else service.workers.get(ChannelName(self.cast.channel(role)))
            if worker is None or not worker.state.is_ready:
                return False
        return True

    def _bridge_of(self, role: str) -> str:
        return f"bridge-{role}" if self.plan.is_split else "bridge"

    # --- the plan -----------------------------------------------------------------------------------------

    async def _endure(self, client: Client) -> None:
        """Steps and faults at their times, then up to the healing."""
        start = self.loop.time()
        faults = [asyncio.create_task(self._strike(fault, start)) for fault in self.plan.faults]
        for number, step in enumerate(self.plan.steps):
            await asyncio.sleep(max(0.0, start + step.at - self.loop.time()))
            await client.send(f"command-{number}", step)
        await asyncio.gather(*faults)
        await asyncio.sleep(max(0.0, start + self.plan.heals_at - self.loop.time()))

    async def _strike(self, fault: Fault, start: float) -> None:
        await asyncio.sleep(start + fault.at - self.loop.time())
        self.points.note(f"FAULT {fault}")
        match fault:
            case Kill(process=name, down=down):
                self.troop.kill_named(name, down)
            case Stop(process=name, down=down):
                await self.troop.rest(name, down)
            case Cut() | Freeze() | HalfOpen():
                await self._hurt_link(fault)
            case NodeRestart():
                await self._restart_node(fault)
            case PeerGone(role=role):
                await carry_out(self.node, PeerDisconnected(role=Role(role)))
            case NoticeLate(seconds=seconds):
                self.node.gate.notice_seconds = seconds
            case Reuse(role=role):
                for rule in reuse(Role(role)):
                    await carry_out(self.node, rule)
            case BusLoss(process=name):
                self.troop.lose_bus(name)
            case Nacks() | HeldConfirms() | Mischief():
                self.trouble.begin(fault)
            case Pause(seconds=seconds):
                self.loop.skip(seconds)

    async def _hurt_link(self, fault: OnLink) -> None:
        match fault:
            case Cut(role=role):
                self.network.cut(role)
            case HalfOpen(role=role):
                self.network.break_off(role)
            case Freeze(role=role, seconds=seconds, way=way):
                self.network.freeze(role, way)
                await asyncio.sleep(seconds)
                self.network.thaw(role)

    async def _restart_node(self, fault: NodeRestart) -> None:
        if self.node.is_listening:
            await (self.node.kill() if fault.is_killed else self.node.stop())
            await asyncio.sleep(fault.down)
            await self._start_node()

    def _look_for_proofs(self) -> None:
        """The rescue kit: without the proof of the latest round its owner cannot close alone with it."""
        if not self.plan.is_proven or self._is_over():
            return
        for role in ROLES:
            service = self.troop.services.get(self._bridge_of(role))
            worker = None if service is None else service.workers.get(ChannelName(self.cast.channel(role)))
            proven = None if worker is None or worker.state.proven is None else worker.state.proven.round
            if worker is None or proven != worker.state.round:
                at = "nowhere" if worker is None else f"at round {worker.state.round}"
                text = f"it stands {at}, and the latest proof is of {proven}"
                self._dead.append(Violation("the latest round is proven", self.cast.channel(role), text))

    def _heal(self) -> None:
        self.points.note("HEALED")
        self.points.heal()
        self.trouble.heal()
        self.network.heal()
        self.node.gate.clear()

    async def _settle(self, client: Client) -> None:
        """Until every command has its end, an operator looking after what stays in doubt, and both sides are back.

        A side that is still away has not seen yet what the other one has done: its books could not be complete.
        """
        began = self.loop.time()
        while client.open and self.loop.time() < began + (LOST_SECONDS if self._is_lost() else QUIET_SECONDS):
            await self._until(lambda: not client.open, self.loop.time() + MEND_SECONDS)
            await client.mend()
        await self._until(lambda: self._is_open() or self._is_over(), self.loop.time() + RETURN_SECONDS)

    async def _pay_again(self, client: Client) -> None:
        """A channel works again after the healing, unless the node shows that it is closed or lost.

        One side after the other: two at once may meet. One that definitely failed may be tried once more: the payment
        may be what shows that its socket has long been dead. A limit of the plan's policy may refuse what nobody else
        asked for, so those worlds are left out.
        """
        if self.plan.policy:
            return
        await asyncio.sleep(self._lateness())
        for role in ROLES:
            ended = await self._pay_once(client, role)
            if ended == "failed":
                ended = await self._pay_once(client, role)
            if ended is None:
                return
            if ended != "succeeded":
                self._fail_to_live(role, f"a payment {ended} within {PAY_SECONDS:g} s")

    async def _pay_once(self, client: Client, role: str) -> str | None:
        """The word for it; None where the channel is over, or is told to be dead."""
        await self._until(lambda: self._is_open() or self._is_over(), self.loop.time() + RETURN_SECONDS)
        if self._is_over():
            return None
        if not self._is_open():
            self._fail_to_live(role, f"it is not open {RETURN_SECONDS:g} s after the healing")
            return None
        self._probes += 1
        command_id = f"probe-{role}-{self._probes}"
        await client.send(command_id, Step(0.0, role, "transfer", PROBE_AMOUNT + self._probes))
        await self._until(lambda: command_id not in client.open, self.loop.time() + PAY_SECONDS)
        return client.latest.get(command_id, "without an outcome")

    def _fail_to_live(self, role: str, text: str) -> None:
        self.points.note(f"DEAD {role}: {text}")
        self._dead.append(Violation("a channel works again", self.cast.channel(role), text))

    def _lateness(self) -> float:
        """What was held or late when it healed comes so much later at most: a signer sleeps over its late reply."""
        late = [fault.seconds for fault in self.plan.faults if isinstance(fault, Mischief) and fault.how == "late"]
        held = [CALL_SECONDS for fault in self.plan.faults if isinstance(fault, HeldConfirms)]
        return max((*late, *held), default=0.0)

    def _is_over(self) -> bool:
        return self._is_closed() or self._is_lost()

    # --- the end ------------------------------------------------------------------------------------------

    def _is_lost(self) -> bool:
        """By what the node shows, and only where a fault of this plan may have done it, or the exception of G5 has.

        A legacy channel is lost to a bridge that was never told of its close: nobody is there to be asked.
        """
        if self.plan.may_doubt and shows_loss(
            self.node, find_channel(self.node), Dialect(self.plan.dialect), self._read_known()
        ):
            return True
        deaths = {role: self.troop.deaths.get(self._bridge_of(role), ()) for role in ROLES}
        if Dialect(self.plan.dialect).is_legacy:
            return self._is_closed() and any(is_too_late(self.watch.ends.get(role), deaths[role]) for role in ROLES)
        return any(is_locked_out(self.node, role, self.watch.credentials, deaths[role]) for role in ROLES)

    def _is_closed(self) -> bool:
        return find_channel(self.node) not in self.node.chain.ledger.channels

    def _read_known(self) -> dict[str, str]:
        known = {name: text for journal in self._journals for name, text in read_known(journal).items()}
        return {role: known[name] for role in ROLES if (name := self.cast.channel(role)) in known}

    @property
    def _journals(self) -> list[Path]:
        return [self._directory / name for name in self.plan.bridges]

    def _read_node(self) -> Pair:
        """As it is before the bridges stop, which ends a channel whose dialect takes nobody back."""
        dialect = Dialect(self.plan.dialect)
        taken_at = self.now() if dialect is Dialect.LEGACY_SEED else None
        return read_node(
            self.node,
            self.cast,
            is_lost=self._is_lost(),
            doubled=self.watch.doubled,
            is_legacy=dialect.is_legacy,
            taken_at=taken_at,
        )

    def _gather(self, client: Client, pair: Pair, texts: dict[str, str]) -> Evidence:
        journals = self._journals
        return Evidence(
            sent=client.sent,
            pairs=[pair],
            results=client.results,
            events=client.events,
            letters=client.letters,
            forwards=[forward for journal in journals for forward in read_ledger(journal)],
            written=[(self.cast.channel(role), signed) for role, signed in self.watch.written],
            booked={name: held for journal in journals for name, held in read_booked(journal).items()},
            swallowed=frozenset(self.watch.swallowed),
            last_seq={name: seq for journal in journals for name, seq in read_seqs(journal).items()},
            waiting=frozenset(command_id for journal in journals for command_id in read_waiting(journal)),
            texts=texts,
            secrets=casting.secrets() | self.watch.credentials.keys() | set(self.node.registry.issued),
        )

    def _own_violations(self, evidence: Evidence) -> list[Violation]:
        """What a world of its own demands beside the oracle's rules."""
        found = [*self._dead, *(Violation("processes live", "world", text) for text in self.troop.ended)]
        for context in self.loop.errors:
            error = context.get("exception")
            text = f"{context.get('message')}: {'' if error is None else describe(error)}"
            found.append(Violation("no error is uncaught", "loop", text))
        for name, bodies in evidence.outcomes.items():
            if any("guard_conflict" in str(body) for body in bodies):
                found.append(Violation("the guard is no obstacle", name, str(bodies[-1])))
        if not any(pair.is_lost for pair in evidence.pairs):
            found += [Violation("nothing stays in doubt", name, "after the healing") for name in doubtful(evidence)]
        return found


async def _turns() -> None:
    for _ in range(50):
        await asyncio.sleep(0)
