"""Faults as data: what a test, a scenario file or a control request may do to the simulated node.

Each fault is one frozen model with its name in `do`. A fault names whom it meets: one channel or all, one role or both.
Those on frames say which: the direction, the word (`word_of`, wildcards allowed), how many to let pass first, how
many to meet. What the words do is in `gate` (frames) and `nemesis` (everything else).
"""

from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from bridge.channel.terms import Role
from bridge.sim.tally import Direction

MAX_SECONDS = 86_400.0
MAX_HUGE_BYTES = 64 * 1024 * 1024

Seconds = Annotated[float, Field(ge=0, le=MAX_SECONDS)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]


class Step(BaseModel):
    """One thing to do, or to wait for. Unknown fields are refused: a misspelt fault would be none."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Target(Step):
    """Whom it meets. Nothing said: every channel, both roles."""

    channel: str | None = None
    role: Role | None = None

    def meets(self, channel: str | None, role: Role) -> bool:
        return self.channel in (None, channel) and self.role in (None, role)


class FrameRule(Target):
    """Which frames it meets. Stands until it met so many of them, also over a reconnect."""

    direction: Direction = "from_node"
    word: str = "*"
    skip: Annotated[int, Field(ge=0)] = 0
    frames: Count = 1

    def matches(self, direction: Direction, word: str) -> bool:
        return direction == self.direction and fnmatchcase(word, self.word)


# --- frames -------------------------------------------------------------------------------------------------


class Swallow(FrameRule):
    """The frame is lost on the way."""

    do: Literal["swallow"] = "swallow"


class Double(FrameRule):
    """The frame comes twice."""

    do: Literal["double"] = "double"


class Delay(FrameRule):
    """The frame comes late, and what follows it waits behind it."""

    do: Literal["delay"] = "delay"
    seconds: Seconds


class CutAt(FrameRule):
    """The connection is torn down at this frame: it is lost, or the last to arrive."""

    do: Literal["cut_at"] = "cut_at"
    side: Literal["before", "after"] = "after"


class Refuse(Target):
    """The next proposals to this role are refused with a code, as its client might; the client sees only that."""

    do: Literal["refuse"] = "refuse"
    code: Annotated[int, Field(ge=1, le=65_535)]
    frames: Count = 1


class Reuse(Target):
    """The next updates that this role's client signs are told to its node as refused, and both signatures are kept: as
    soon as the other role's client is away they are used, unless the round is over by then."""

    do: Literal["reuse"] = "reuse"
    code: Annotated[int, Field(ge=128, le=65_535)] = 147
    frames: Count = 1


# --- sockets ------------------------------------------------------------------------------------------------


class Cut(Target):
    """Tear the connections down without a frame."""

    do: Literal["cut"] = "cut"


class Freeze(Target):
    """Read nothing and send nothing, on sockets there are and on those to come, until thawed. Pings go unanswered."""

    do: Literal["freeze"] = "freeze"


class Thaw(Step):
    """Read and send again everywhere."""

    do: Literal["thaw"] = "thaw"


class NoticeLate(Step):
    """From here on the node notices the end of a connection so much later: a client may be back before that."""

    do: Literal["notice_late"] = "notice_late"
    seconds: Seconds


class Garbage(Target):
    """Send a text that no node would."""

    do: Literal["garbage"] = "garbage"
    text: str = "garbage"
    times: Count = 1


class Huge(Target):
    """Send one well-formed frame of this size, of a kind nobody knows."""

    do: Literal["huge"] = "huge"
    size_bytes: Annotated[int, Field(ge=100, le=MAX_HUGE_BYTES)] = 8 * 1024 * 1024


class Flood(Target):
    """Send well-formed frames of a kind nobody knows as fast as said, for so long."""

    do: Literal["flood"] = "flood"
    seconds: Seconds = 1.0
    frames_per_ms: Annotated[int, Field(ge=1, le=1_000)] = 60


# --- the node -----------------------------------------------------------------------------------------------


class PeerDisconnected(Target):
    """The FSM opposite this role ends: an initiator's leaves the responder behind, a responder's ends both."""

    do: Literal["peer_disconnected"] = "peer_disconnected"


class Stop(Step):
    """In order: every channel can be reestablished."""

    do: Literal["stop"] = "stop"


class Kill(Step):
    """No channel survives; the chain does."""

    do: Literal["kill"] = "kill"


class Start(Step):
    """Listen again, at the same port. Nothing if it listens."""

    do: Literal["start"] = "start"


class HoldMining(Step):
    """No block is made but by `mine`."""

    do: Literal["hold_mining"] = "hold_mining"


class Mine(Step):
    """So many blocks."""

    do: Literal["mine"] = "mine"
    blocks: Count = 1


class ReleaseMining(Step):
    """Blocks on demand again."""

    do: Literal["release_mining"] = "release_mining"


class Heal(Step):
    """Drop every rule on frames, thaw, notice at once, release mining, and start the node if it does not listen."""

    do: Literal["heal"] = "heal"


# --- waiting ------------------------------------------------------------------------------------------------


class Wait(Step):
    """So long after the step before."""

    do: Literal["wait"] = "wait"
    seconds: Seconds


class At(Step):
    """Until so long after the scenario began."""

    do: Literal["at"] = "at"
    second: Seconds


class Await(Target):
    """Until so many of these frames have crossed since the step before."""

    do: Literal["await"] = "await"
    direction: Direction = "from_node"
    word: str
    count: Count = 1

    def matches(self, direction: Direction, word: str) -> bool:
        return direction == self.direction and fnmatchcase(word, self.word)


OnFrames = Swallow | Double | Delay | CutAt | Refuse | Reuse
OnSockets = Cut | Freeze | Thaw | NoticeLate | Garbage | Huge | Flood
OnNode = PeerDisconnected | Stop | Kill | Start | HoldMining | Mine | ReleaseMining | Heal
Fault = OnFrames | OnSockets | OnNode
Pause = Wait | At | Await
AnyFault = Annotated[Fault, Field(discriminator="do")]
AnyStep = Annotated[Fault | Pause, Field(discriminator="do")]


def word_of(frame: Any) -> str:
    """A frame's name in a rule, the same in both dialects: `sign.update`, `info.open`, `update.new`, `result`.

    Either way `update` is a state: from the node the co-signed one, to it a client's signed reply.
    """
    match frame:
        case {"method": "channels.info", "params": {"data": {"event": str(event)}}}:
            return f"info.{event}"
        case {"action": "info", "payload": {"event": str(event)}}:
            return f"info.{event}"
        case {"method": str(method)}:
            return method.removeprefix("channels.")
        case {"action": str(action), "tag": str(tag)}:
            return f"{action}.{tag}"
        case {"action": str(action)}:
            return action
        case {"result": _}:
            return "result"
        case {"error": _}:
            return "error"
        case _:
            return "garbage"
