"""`bridge.signing.command`: a program of the owner's signs, within bounds, and is believed in nothing else."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from bridge.errors import KeyRefused, KeyUnavailable
from bridge.signing.command import MAX_OUTPUT_BYTES, CommandKey
from tests.signing.given import OWN, OWN_KEY

SIGN = """
import base64, os, sys
from nacl.signing import SigningKey
signature = SigningKey(bytes([1]) * 32).sign(sys.stdin.buffer.read()).signature
"""
PAYLOAD = b"ae_uat" + bytes(range(32))


def key(program: str, *inherited: str, seconds: float = 20.0) -> CommandKey:
    return CommandKey(OWN, (sys.executable, "-c", program), inherited, seconds)


@pytest.mark.parametrize(
    "write",
    ["sys.stdout.buffer.write(signature)", "print(base64.b64encode(signature).decode())"],
    ids=["bytes", "base64"],
)
async def test_program_signs_what_it_reads(write: str) -> None:
    """Both are what a shell around an HSM's tool gives by itself."""
    assert await key(SIGN + write).sign(PAYLOAD) == OWN_KEY.sign(PAYLOAD).signature


async def test_program_sees_its_account_and_no_environment_but_what_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """AMQP_URL holds a password: it is no business of a program that signs."""
    monkeypatch.setenv("AMQP_URL", "amqp://signer:secret@host")
    monkeypatch.setenv("HSM_SLOT", "3")
    program = f"""
import os, sys
wanted = {{"CHANNEL_BRIDGE_ACCOUNT": {str(OWN)!r}, "HSM_SLOT": "3"}}
given = {{name: os.environ.get(name) for name in wanted}}
sys.exit(75 if given == wanted and set(os.environ) <= {{*wanted, "PATH", "LC_ALL", "LC_CTYPE"}} else 1)
"""
    with pytest.raises(KeyUnavailable):
        await key(program, "HSM_SLOT", "HSM_PIN").sign(PAYLOAD)


@pytest.mark.parametrize(
    ("program", "error", "sentence"),
    [
        ("import sys; sys.exit(75)", KeyUnavailable, "asks to be tried again"),
        ("import os; os.kill(os.getpid(), 9)", KeyUnavailable, "was ended by signal 9"),
        ("import sys; sys.exit('the PIN is 1234')", KeyRefused, "exit code 1"),
        ("print('the PIN is 1234')", KeyRefused, "16 bytes that are no signature"),
        ("pass", KeyRefused, "0 bytes that are no signature"),
        (f"print('1234' * {MAX_OUTPUT_BYTES})", KeyRefused, f"more than {MAX_OUTPUT_BYTES} bytes"),
    ],
    ids=["again", "killed", "refused", "no-signature", "silent", "flood"],
)
async def test_every_other_end_is_told_without_what_the_program_says(
    program: str, error: type[Exception], sentence: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """A tool that fails prints what it had in its hands."""
    with pytest.raises(error, match=sentence) as caught:
        await key(program).sign(PAYLOAD)
    assert "1234" not in str(caught.value) + "".join(capfd.readouterr())


async def test_program_that_is_missing_is_refused_for_good() -> None:
    """Nothing is gained by asking a file that is not there."""
    with pytest.raises(KeyRefused, match="cannot be started: No such file"):
        await CommandKey(OWN, ("/nowhere/sign",), (), 1.0).sign(PAYLOAD)


async def test_program_that_hangs_is_ended_with_all_it_started(tmp_path: Path) -> None:
    """An HSM's tool waits for a card for ever; what it leaves behind would hold the card."""
    pid_file = tmp_path / "pid"
    program = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open({str(pid_file) + ".new"!r}, "w").write(str(child.pid))
import os; os.rename({str(pid_file) + ".new"!r}, {str(pid_file)!r})
time.sleep(600)
"""
    asking = asyncio.create_task(key(program, seconds=600.0).sign(PAYLOAD))
    while not pid_file.exists():  # noqa: ASYNC110  # another process writes it
        await asyncio.sleep(0.01)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    while _is_running(int(pid_file.read_text())):  # noqa: ASYNC110  # the kernel takes it down in its own time
        await asyncio.sleep(0.01)
    with pytest.raises(KeyUnavailable, match=r"took longer than 0\.2 s"):
        await key("import time; time.sleep(600)", seconds=0.2).sign(PAYLOAD)


def _is_running(pid: int) -> bool:
    """A process nobody has buried yet runs no more."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (ProcessLookupError, FileNotFoundError):
        return False
