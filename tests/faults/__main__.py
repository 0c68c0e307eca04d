"""`python -m tests.faults all` (`make faults`): every fault there is, with its figures; the last line sums up.

Each part is a program of its own with its own bound, the long ones first: three of real processes at a time (the random
kills alone: they start bridges without end), and beside them one in virtual time, which takes what processor they
leave. What a part prints is kept; of one that failed the log stays, and its path is told.
`python -m tests.faults PART ...` runs some of them.
Never skips: a part that cannot run has failed. Exit code 1 if any has.
"""

import argparse
import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SIDE_BY_SIDE = 3
"""Most parts wait most of their time: for a start, a timer, a broker that is away."""
MODEST = 10
"""How much nicer parts in virtual time are: no clock of theirs notices that they wait."""
WITHOUT_SHORT = ("--ignore", "tests/faults/broker/test_trouble.py")
"""`broker` strikes in full length what these strike for a moment."""


@dataclass(frozen=True, slots=True)
class Part:
    name: str
    words: tuple[str, ...]
    seconds: float
    is_virtual: bool = False
    """It computes all the time, and no real clock counts in it."""
    is_alone: bool = False
    """It wants the processors for itself, the virtual ones aside."""


PARTS = (
    Part(
        "kills", ("tests.faults.kills", "--payments", "2000", "--channels", "20", "--kills", "200"), 1200, is_alone=True
    ),
    Part("seeds", ("tests.simulation", "--seeds", "1000", "--jobs", "2"), 1400, is_virtual=True),
    Part("every", ("tests.simulation.every", "--jobs", "2"), 1400, is_virtual=True),
    Part("schedules", ("tests.simulation.schedule", "--examples", "600", "--jobs", "2"), 900, is_virtual=True),
    Part("points", ("tests.faults.points", "--draw", "120"), 900),
    Part("writes", ("tests.faults.writes", "--dialect", "json-rpc"), 900),
    Part("writes-late", ("tests.faults.writes", "--dialect", "legacy-late"), 1300),
    Part("broker", ("tests.faults.bus",), 720),
    Part("signers", ("tests.faults.signers",), 300),
    Part("books", ("tests.faults.books", "--payments", "1000", "--kills", "25"), 600),
    Part("nodes", ("tests.faults.nodes",), 700),
    Part("houses", ("pytest", "-m", "fault", "tests", "-q", "-p", "no:cacheprovider", *WITHOUT_SHORT), 900),
    Part("trace", ("tests.faults.trace", "--payments", "100"), 240),
    Part("sdk", ("tests.faults.sdk",), 500),
)


@dataclass(frozen=True, slots=True)
class Ended:
    part: Part
    is_good: bool
    seconds: float
    figures: str
    """The last line it printed, or why there is none."""


async def live(part: Part, folder: Path) -> Ended:
    """One part to its end or its bound."""
    began = time.monotonic()
    log = folder / f"{part.name}.log"
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", *part.words),
            cwd=ROOT,
            env=_environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=file,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_step_back if part.is_virtual else None,
        )
        try:
            code: int | None = await asyncio.wait_for(process.wait(), part.seconds)
        except TimeoutError:
            code = None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # whatever it left behind is its own group
            await process.wait()
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    figures = lines[-1] if lines else "it said nothing"
    if code is None:
        figures = f"not over after {part.seconds:.0f} s: {figures}"
    return Ended(part, code == 0, time.monotonic() - began, figures)


def _environment() -> dict[str, str]:
    """Bridges start from compiled files, as installed ones do: hundreds of starts else compile all of it each time.

    A test that finds no RabbitMQ fails here instead of being skipped.
    """
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPYCACHEPREFIX": str(ROOT / ".cache" / "compiled"), "CHANNEL_BRIDGE_REQUIRE_BROKER": "1"}


def _step_back() -> None:
    """In the child: leaves the processor to the others, also where the kernel groups processes by session."""
    os.nice(MODEST)
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(MODEST))


async def run(parts: list[Part], folder: Path) -> list[Ended]:
    real, virtual = asyncio.Semaphore(SIDE_BY_SIDE), asyncio.Semaphore(1)

    async def one(part: Part) -> Ended:
        async with virtual if part.is_virtual else real:
            print(f"{part.name} begins", flush=True)
            ended = await live(part, folder)
        word = "ok" if ended.is_good else "FAILED"
        print(f"{part.name} {word} in {ended.seconds:.0f} s: {ended.figures}", flush=True)
        return ended

    async def reals() -> list[Ended]:
        first = [await one(part) for part in parts if part.is_alone]
        rest = await asyncio.gather(*(one(part) for part in parts if not part.is_virtual and not part.is_alone))
        return first + rest

    async def virtuals() -> list[Ended]:
        return await asyncio.gather(*(one(part) for part in parts if part.is_virtual))

    ended = await asyncio.gather(reals(), virtuals())
    return [one for some in ended for one in some]


def sum_up(ended: list[Ended], seconds: float) -> str:
    failed = [one.part.name for one in ended if not one.is_good]
    verdict = f"FAILED ({', '.join(failed)})" if failed else "ok"
    told = "; ".join(one.figures for one in ended if one.is_good)
    return f"faults: {verdict}  {len(ended)} parts in {seconds / 60:.1f} min  {told}"


def main(words: list[str]) -> int:
    names = [part.name for part in PARTS]
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("parts", nargs="+", choices=["all", *names], help="which; `all` for every one")
    wanted = parser.parse_args(words).parts
    parts = [part for part in PARTS if "all" in wanted or part.name in wanted]
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever stops this stops the parts
    began = time.monotonic()
    ended = asyncio.run(run(parts, folder))
    failed = [one for one in ended if not one.is_good]
    if failed:
        print(f"logs of {', '.join(one.part.name for one in failed)}: {folder}")
    for one in ended:
        if one.is_good:
            (folder / f"{one.part.name}.log").unlink()
    if not failed:
        shutil.rmtree(folder)
    print(sum_up(ended, time.monotonic() - began))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
