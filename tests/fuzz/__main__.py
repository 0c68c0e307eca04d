"""`python -m tests.fuzz` (`make fuzz`): a million cases, led by coverage; the last line sums up.

Each target is a process of its own, two at a time, begun with real transactions, frames and messages. Failed is: an
exception that is not the bridge's refusal, a broken promise of `tests.fuzz.target`, an input of more than ten
seconds, more than 512 MiB, memory that still grows, or fewer cases than asked for. The inputs of findings stay.
"""

import argparse
import asyncio
import re
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.target import TARGETS

ROOT = Path(__file__).parents[2]
SIDE_BY_SIDE = 2
CASES, SEED, SECONDS = 1_000_000, 1, 840
GROWTH_MIB = 48
"""libFuzzer keeps what it finds interesting; beyond that nothing may stay between two cases."""

_LINE = re.compile(r"^#(\d+)\s+(\w+).*\bcov: (\d+).*\brss: (\d+)Mb", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Ended:
    name: str
    cases: int
    coverage: int
    early_mib: int
    late_mib: int
    wrong: str
    """Empty if all is well."""

    @property
    def figures(self) -> str:
        return f"{self.cases} cases, {self.coverage} edges, {self.early_mib} then {self.late_mib} MiB"


def judge(name: str, said: str, code: int, wanted: int) -> Ended:
    """What libFuzzer's lines say. Memory is compared from an eighth of the cases on: before, caches fill."""
    lines = [(int(number), int(edges), int(mib)) for number, _, edges, mib in _LINE.findall(said)]
    if not lines:
        return Ended(name, 0, 0, 0, 0, f"it never began (exit code {code})")
    cases, edges, late = lines[-1]
    early = next((mib for number, _, mib in lines if number >= wanted // 8), late)
    wrong = ""
    if code != 0:
        wrong = f"exit code {code}"
    elif cases < wanted:
        wrong = f"{wanted} cases were asked for"
    elif late - early > GROWTH_MIB:
        wrong = "memory grows"
    return Ended(name, cases, edges, early, late, wrong)


async def fuzz(name: str, cases: int, seconds: int, seed: int, folder: Path) -> Ended:
    corpus = folder / f"{name}.corpus"
    corpus.mkdir()
    for number, data in enumerate(TARGETS[name].seeds()):
        (corpus / f"{number:05}").write_bytes(data)
    options = (
        f"-runs={cases}",
        f"-seed={seed}",
        f"-max_len={TARGETS[name].max_bytes}",
        f"-artifact_prefix={folder}/{name}.",
        f"-max_total_time={seconds}",
        "-timeout=10",
        "-rss_limit_mb=512",
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.fuzz.one", name, *options, str(corpus)),
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    said = output.decode(errors="replace")
    (folder / f"{name}.log").write_text(said)
    return judge(name, said, process.returncode or 0, cases)


async def fuzz_all(names: list[str], cases: int, seed: int, folder: Path) -> list[Ended]:
    """The cases are shared out evenly, and the time: what is not done in it is a finding."""
    slots, each = asyncio.Semaphore(SIDE_BY_SIDE), -(-cases // len(names))
    seconds = SECONDS * SIDE_BY_SIDE // max(len(names), SIDE_BY_SIDE)

    async def one(name: str) -> Ended:
        async with slots:
            ended = await fuzz(name, each, seconds, seed, folder)
        print(f"{name}: {ended.figures}{f'  FAILED: {ended.wrong}' if ended.wrong else ''}", flush=True)
        return ended

    return await asyncio.gather(*(one(name) for name in names))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all without any")
    parser.add_argument("--cases", type=int, default=CASES, help=f"in all, {CASES} by default")
    parser.add_argument("--seed", type=int, default=SEED)
    asked = parser.parse_args()
    if unknown := sorted(set(asked.targets) - set(TARGETS)):
        parser.error(f"there is no target {', '.join(unknown)}")
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="channel-bridge-fuzz-"))
    ended = asyncio.run(fuzz_all(asked.targets or list(TARGETS), asked.cases, asked.seed, folder))
    failed = [one.name for one in ended if one.wrong]
    kept = f"  failed {', '.join(failed)}: logs and inputs in {folder}" if failed else ""
    total = sum(one.cases for one in ended)
    print(f"fuzz: {'FAILED' if failed else 'ok'}  {total} cases  {time.monotonic() - began:.0f} s{kept}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
