"""A key behind a program of the owner's: the way to an HSM, a smart card, or a KMS with a client of its own.

The program gets the bytes to sign and gives the signature; it is trusted with the key and with nothing else. It runs
without a shell, with an environment of its own, in a process group that ends with it, and within bounds of time and
output. What it says besides is dropped: it may hold a secret.
"""

import asyncio
import base64
import binascii
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress

from bridge.channel.identifier import Account
from bridge.errors import KeyRefused, KeyUnavailable
from bridge.wire.signature import SIGNATURE_BYTES

TRY_AGAIN = 75
"""The exit code that sysexits.h calls a temporary failure."""
MAX_OUTPUT_BYTES = 4096
DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"


class CommandKey:
    """`argv` is started once for each signature. `inherited` names variables of ours that it may see."""

    def __init__(self, account: Account, argv: Sequence[str], inherited: Sequence[str], seconds: float) -> None:
        self.account = account
        self._argv = tuple(argv)
        self._inherited = tuple(inherited)
        self._seconds = seconds

    def __repr__(self) -> str:
        return f"CommandKey({self.account})"

    async def sign(self, payload: bytes) -> bytes:
        process = await self._start()
        try:
            async with asyncio.timeout(self._seconds):
                output, code = await _talk(process, payload)
        except TimeoutError:
            raise KeyUnavailable(f"the program that signs took longer than {self._seconds:g} s") from None
        finally:
            await _end(process)
        if code == 0:
            return _read(output)
        if code == TRY_AGAIN:
            raise KeyUnavailable("the program that signs asks to be tried again")
        if code < 0:
            raise KeyUnavailable(f"the program that signs was ended by signal {-code}")
        raise KeyRefused(f"the program that signs ended with exit code {code}")

    async def _start(self) -> asyncio.subprocess.Process:
        try:
            return await asyncio.create_subprocess_exec(
                *self._argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env=self._environment(),
                start_new_session=True,
            )
        except BlockingIOError as error:
            raise KeyUnavailable("the program that signs cannot be started: the machine has no room") from error
        except OSError as error:
            raise KeyRefused(f"the program that signs cannot be started: {error.strerror}") from error

    def _environment(self) -> Mapping[str, str]:
        passed = {name: os.environ[name] for name in self._inherited if name in os.environ}
        path = os.environ.get("PATH", DEFAULT_PATH)
        return {"PATH": path, "LC_ALL": "C.UTF-8", **passed, "CHANNEL_BRIDGE_ACCOUNT": self.account}


async def _talk(process: asyncio.subprocess.Process, payload: bytes) -> tuple[bytes, int]:
    """All it writes, up to the bound, and its exit code."""
    assert process.stdin is not None  # noqa: S101  # piped
    assert process.stdout is not None  # noqa: S101  # piped
    with suppress(BrokenPipeError, ConnectionResetError):  # it need not read to the end; what counts is its answer
        process.stdin.write(payload)
        await process.stdin.drain()
        process.stdin.close()
    output = b""
    while len(output) <= MAX_OUTPUT_BYTES and (piece := await process.stdout.read(MAX_OUTPUT_BYTES)):
        output += piece
    if len(output) > MAX_OUTPUT_BYTES:
        raise KeyRefused(f"the program that signs wrote more than {MAX_OUTPUT_BYTES} bytes")
    return output, await process.wait()


async def _end(process: asyncio.subprocess.Process) -> None:
    """It and all it started, whatever state they are in; also when we are cancelled."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    await asyncio.shield(process.wait())
    # The pipes' transports end with the process; without this the loop would complain of them at its end.
    process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001


def _read(output: bytes) -> bytes:
    """64 bytes as they are, or base64 with white space around it."""
    if len(output) == SIGNATURE_BYTES:
        return output
    with suppress(ValueError, binascii.Error):
        signature = base64.b64decode(output.strip(), validate=True)
        if len(signature) == SIGNATURE_BYTES:
            return signature
    raise KeyRefused(f"the program that signs wrote {len(output)} bytes that are no signature")
