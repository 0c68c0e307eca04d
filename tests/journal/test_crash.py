"""kill -9 at any instant: a real process, a real signal, and the journal it leaves."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from bridge.channel.identifier import ChannelName, CommandId
from bridge.journal.auditcheck import verify
from bridge.journal.journal import FILE, Journal
from bridge.journal.peekaudit import read_audit
from tests.journal.committer import LINES
from tests.journal.given import open_journal

ROOT = Path(__file__).parents[2]


async def commit_and_kill(directory: Path, run: int, lines: int) -> list[str]:
    """The ids whose commit the process had confirmed when it was killed in the middle of others."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.journal.committer", str(directory), str(run)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stdout is not None
    async with asyncio.timeout(60):
        confirmed = [await child.stdout.readline() for _ in range(lines)]
        child.send_signal(signal.SIGKILL)
        rest = await child.stdout.read()
        assert await child.wait() == -signal.SIGKILL
    # The last line may be cut: then its commit was confirmed, but whose it was is not known.
    return [line.decode().strip() for line in (*confirmed, *rest.splitlines(keepends=True)) if line.endswith(b"\n")]


async def check_line(journal: Journal, channel: ChannelName) -> int:
    """All tables agree on how far this line came; how far."""
    record = await journal.load(channel)
    reached = 0 if record is None else record.seq
    assert record is None or record.state == f"{channel}:{reached}".encode()
    assert [row.seq for row in await journal.events(channel, 0, 10**9)] == list(range(1, reached + 1))
    assert len(await journal.ledger(channel)) == reached
    assert (await journal.backlog()).get(channel, 0) == reached
    kept = [row.envelope.body.decode() for row in await journal.outbox(0, 10**9) if row.lane == channel]
    assert kept == [f"{channel}:{number}" for number in range(1, reached + 1)]
    return reached


def check_audit(directory: Path, confirmed: list[str], reached: int) -> None:
    """One row for each commit that is there and none for any other, and the chain goes on over both kills."""
    with read_audit(directory / FILE) as audit:
        verdict = verify(audit.rows(), audit.count())
        assert (verdict.told, verdict.rows) == ((), reached)
        kept = {row.as_json()["command_id"] for row in audit.rows()}
    assert set(confirmed) <= kept


@pytest.mark.parametrize("lines", [1, 50, 400])
async def test_kill_nine_loses_no_confirmed_commit(tmp_path: Path, lines: int) -> None:
    """G5. Each batch is there whole or not at all, and the next owner goes on from there; killed twice over."""
    confirmed = [*await commit_and_kill(tmp_path, 1, lines), *await commit_and_kill(tmp_path, 2, lines)]
    assert len(confirmed) >= 2 * lines
    async with open_journal(tmp_path) as journal:
        lost = [name for name in confirmed if await journal.find_command(CommandId(name)) is None]
        assert lost == []
        names = [ChannelName(f"run-{run}-line-{number}") for run in (1, 2) for number in range(LINES)]
        reached = sum([await check_line(journal, name) for name in names])
        assert reached >= len(confirmed)
        check_audit(tmp_path, confirmed, reached)
        assert journal.epoch == 3
