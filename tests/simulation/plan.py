"""What one world shall live through: who is there, which commands are sent when, and which faults strike when.

Pure data, drawn from a seed or written by hand. Times are virtual seconds after the channel has opened.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.simulation.point import Action

DIALECTS = ("json-rpc", "legacy-late", "legacy-seed")
ROLES = ("initiator", "responder")
CHOICES = 30
"""Numbers an order is drawn from: as many for each action of any kind of point."""
REUSES = 0.15
"""The share of worlds with a dishonest client."""
FIRST_AMOUNT = 1_000_000
"""Amounts count up from here: each is unique, and none is another's sum."""


@dataclass(frozen=True, slots=True)
class Step:
    """A command, sent at that time by the client of that role."""

    at: float
    role: str
    kind: str
    amount: int | None = None
    times: int = 1
    """How often the same command is sent: the bus's clients may repeat themselves."""


@dataclass(frozen=True, slots=True)
class Kill:
    """`kill -9`, and a start some time later. `process` as in the world: `bridge`, `bridge-initiator`, `signer`, …"""

    at: float
    process: str
    down: float = 0.5


@dataclass(frozen=True, slots=True)
class Cut:
    """The sockets of that role meet a reset."""

    at: float
    role: str


@dataclass(frozen=True, slots=True)
class NodeRestart:
    """In order, or killed: then its channels are lost, and the books say so."""

    at: float
    down: float = 1.0
    is_killed: bool = False


@dataclass(frozen=True, slots=True)
class BusLoss:
    """The broker drops every session of a process. Unsettled deliveries come again."""

    at: float
    process: str


@dataclass(frozen=True, slots=True)
class Nacks:
    """The broker refuses the next publishes."""

    at: float
    count: int


@dataclass(frozen=True, slots=True)
class HeldConfirms:
    """The broker takes publishes and confirms none for so long."""

    at: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Mischief:
    """The next replies of the signer are `late` by so long, `doubled`, `crossed` (an answer to another request comes
    before the right one), or `swapped` (it comes alone)."""

    at: float
    how: str
    count: int = 1
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Pause:
    """Everything stands still: a suspended machine. All timers fire at once afterwards."""

    at: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Stop:
    """A bridge ends in order, as on SIGTERM, and is started again."""

    at: float
    process: str
    down: float


@dataclass(frozen=True, slots=True)
class Freeze:
    """The sockets of that role carry nothing `to_node`, `from_node` or `both`, then all at once. Newer ones work."""

    at: float
    role: str
    seconds: float
    way: str


@dataclass(frozen=True, slots=True)
class HalfOpen:
    """The bridge of that role loses its sockets, and the node does not know it before the healing."""

    at: float
    role: str


@dataclass(frozen=True, slots=True)
class PeerGone:
    """The FSM opposite that role ends."""

    at: float
    role: str


@dataclass(frozen=True, slots=True)
class NoticeLate:
    """From here on the node notices the end of a socket so much later: its client may be back before that."""

    at: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Reuse:
    """The client of that role is dishonest: it says that it refuses the next payment, to which the payer's client loses
    its socket, and uses both signatures while that is away."""

    at: float
    role: str


OnBus = BusLoss | Nacks | HeldConfirms
OnLink = Cut | Freeze | HalfOpen
OnNode = NodeRestart | PeerGone | NoticeLate | Reuse
Fault = Kill | Stop | OnBus | OnLink | OnNode | Mischief | Pause


@dataclass(frozen=True, slots=True)
class Plan:
    """One world."""

    seed: int
    dialect: str = "json-rpc"
    is_split: bool = True
    """Whether each role has a bridge of its own."""
    is_reestablished: bool = False
    """Whether the node was restarted in order before the first step: from then on an FSM dies with its client's socket,
    and each attach rotates the credential."""
    steps: tuple[Step, ...] = ()
    faults: tuple[Fault, ...] = ()
    orders: Mapping[int, Action | int] = field(default_factory=dict)
    """What to do at which numbered point; a number picks one of the actions that make sense there."""
    restart_seconds: float = 0.3
    """How long a process stays down that was killed at a point."""
    heals_at: float = 20.0
    """From then on, or once the last fault is over, nothing more is broken, and the world runs until it is quiet."""
    is_proven: bool = False
    """Whether both sides have to hold the proof of their latest round when it heals, unless the channel is lost."""
    has_logs: bool = False
    policy: Mapping[str, Any] = field(default_factory=dict)
    """Options of the channels' policy; what is not named here is allowed."""
    answers: tuple[str, ...] = ()
    """The approvers who agree to each question, in this order."""

    @property
    def bridges(self) -> tuple[str, ...]:
        return tuple(f"bridge-{role}" for role in ROLES) if self.is_split else ("bridge",)

    @property
    def signers(self) -> tuple[str, ...]:
        """Each bridge has its own part of the bus, and so its own signer."""
        return tuple(name.replace("bridge", "signer") for name in self.bridges)

    @property
    def may_doubt(self) -> bool:
        """Whether a command may stand in doubt in the end. Legacy drops its channel with the socket."""
        return self.dialect != "json-rpc" or self.loses_channel

    @property
    def loses_channel(self) -> bool:
        return any(isinstance(fault, NodeRestart) and fault.is_killed for fault in self.faults)


def draw_plan(seed: int) -> Plan:
    """Everything from the seed."""
    random = Random(f"plan {seed}")  # noqa: S311  # to repeat a run
    dialect = random.choices(DIALECTS, (8, 1, 1))[0]
    is_split = random.random() < 0.7
    steps = _draw_steps(random)
    plan = Plan(seed, dialect, is_split)
    faults = tuple(_draw_fault(random, plan) for _ in range(random.choice((1, 1, 2, 2, 3, 5))))
    faults += _draw_reuse(seed, dialect)
    orders = {random.randrange(20, 400): random.randrange(CHOICES) for _ in range(random.choice((0, 1, 2, 4)))}
    restart_seconds, heals_at = random.choice((0.05, 0.3, 2.0)), random.choice((20.0, 20.0, 100.0))
    return Plan(
        seed,
        dialect,
        is_split,
        steps=steps,
        faults=faults,
        orders=orders,
        restart_seconds=restart_seconds,
        heals_at=heals_at,
        has_logs=True,
    )


def _draw_reuse(seed: int, dialect: str) -> tuple[Fault, ...]:
    """In some worlds, whatever else is drawn. In the legacy dialects nothing is left to be used: an FSM dies with its
    client.
    """
    random = Random(f"reuse {seed}")  # noqa: S311  # to repeat a run
    if dialect != "json-rpc" or random.random() >= REUSES:
        return ()
    return (Reuse(random.uniform(0.0, 3.0), random.choice(ROLES)),)


def _draw_steps(random: Random) -> tuple[Step, ...]:
    """Mostly payments, close together; sometimes the rest; sometimes a shutdown in the end."""
    steps = []
    for number in range(random.choice((2, 4, 6, 10))):
        kind = random.choices(("transfer", "deposit", "withdraw", "message", "letter"), (12, 1, 1, 1, 1))[0]
        amount = None if kind in ("message", "letter") else FIRST_AMOUNT + number
        times = 2 if random.random() < 0.05 else 1
        steps.append(Step(random.uniform(0.0, 4.0), random.choice(ROLES), kind, amount, times))
    if random.random() < 0.15:
        steps.append(Step(random.uniform(3.0, 25.0), random.choice(ROLES), "shutdown"))
    return tuple(sorted(steps, key=lambda step: step.at))


def _draw_fault(random: Random, plan: Plan) -> Fault:
    draw = random.choices((_draw_standstill, _draw_on_link, _draw_on_node, _draw_on_bus), (13, 9, 5, 10))[0]
    return draw(random, plan, random.uniform(0.0, 6.0))


def _draw_standstill(random: Random, plan: Plan, at: float) -> Fault:
    """Of one process, or of everything."""
    match random.choices(range(3), (10, 2, 1))[0]:
        case 0:
            return Kill(at, _draw_process(random, plan), random.choice((0.02, 0.5, 5.0)))
        case 1:
            return Stop(at, random.choice(plan.bridges), random.choice((0.1, 20.0, 130.0)))
        case _:
            return Pause(at, random.choice((2.0, 30.0, 70.0)))


def _draw_on_link(random: Random, _: Plan, at: float) -> Fault:
    role = random.choice(ROLES)
    match random.choices(range(3), (4, 3, 2))[0]:
        case 0:
            return Cut(at, role)
        case 1:
            return Freeze(at, role, random.choice((2.0, 15.0, 70.0)), random.choice(("to_node", "from_node", "both")))
        case _:
            return HalfOpen(at, role)


def _draw_on_node(random: Random, _: Plan, at: float) -> Fault:
    match random.choices(range(3), (2, 2, 1))[0]:
        case 0:
            return NodeRestart(at, random.uniform(0.1, 5.0), is_killed=random.random() < 0.25)
        case 1:
            return PeerGone(at, random.choice(ROLES))
        case _:
            return NoticeLate(at, random.choice((0.02, 0.2, 0.6)))


def _draw_on_bus(random: Random, plan: Plan, at: float) -> Fault:
    """Of the broker, or of a signer."""
    match random.choices(range(4), (3, 2, 2, 3))[0]:
        case 0:
            return BusLoss(at, _draw_process(random, plan))
        case 1:
            return Nacks(at, random.randint(1, 8))
        case 2:
            return HeldConfirms(at, random.uniform(0.5, 40.0))
        case _:
            seconds = random.choice((5.0, 55.0, 61.0, 130.0, 310.0))
            return Mischief(at, random.choice(("late", "doubled", "crossed", "swapped")), random.randint(1, 3), seconds)


def _draw_process(random: Random, plan: Plan) -> str:
    return random.choice((*plan.bridges, *plan.bridges, *plan.signers))
