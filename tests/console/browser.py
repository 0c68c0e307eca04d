"""A headless Chromium, spoken to over its own debugging protocol: no driver in between, nothing to install but it."""

import asyncio
import base64
import itertools
import json
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

NAMES = ("chromium", "chromium-browser", "google-chrome")
SECONDS = 60.0
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--mute-audio")


class NoBrowser(Exception):
    """Says how to get one."""


class Page:
    """One tab. `errors` are what its console and its network complained of."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._reader = asyncio.create_task(self._read())
        self.errors: list[str] = []

    async def _read(self) -> None:
        with suppress(ConnectionClosed):  # the tab, or the browser, has ended
            async for text in self._socket:
                self._take(json.loads(text))

    def _take(self, told: dict[str, Any]) -> None:
        match told:
            case {"id": int(number)} if number in self._waiting:
                self._waiting.pop(number).set_result(told)
            case {"method": "Runtime.exceptionThrown", "params": {"exceptionDetails": details}}:
                self.errors.append(json.dumps(details)[:400])
            case {"method": "Log.entryAdded", "params": {"entry": {"level": "error"} as entry}}:
                self.errors.append(f"{entry.get('text')} {entry.get('url', '')}")

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        async with asyncio.timeout(SECONDS):
            told = await answer
        if "error" in told:
            raise RuntimeError(f"{method}: {told['error']}")
        result: dict[str, Any] = told["result"]
        return result

    async def set_up(self, width: int, height: int, *, dark: bool, touch: bool) -> None:
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.call(f"{domain}.enable")
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=touch
        )
        await self.call("Emulation.setTouchEmulationEnabled", enabled=touch)
        scheme = "dark" if dark else "light"
        await self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    async def open(self, url: str) -> None:
        await self.call("Page.navigate", url=url)

    async def run(self, script: str) -> Any:
        """The value of an expression, awaited."""
        told = await self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in told:
            raise RuntimeError(json.dumps(told["exceptionDetails"])[:600])
        return told["result"].get("value")

    async def until(self, condition: str) -> None:
        """The browser waits: the condition is looked at in each of its frames."""
        # What is asked about may not be on the page yet.
        met = f"const met = () => {{ try {{ return {condition}; }} catch {{ return false; }} }};"
        look = f"{met} const look = () => met() ? done(true) : setTimeout(look, 30);"
        await self.run(f"new Promise((done) => {{ {look} look(); }})")

    async def shoot(self, path: Path) -> None:
        told = await self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(told["data"]))


@asynccontextmanager
async def browser() -> AsyncIterator["Browser"]:
    """Started and ended here, with its own profile. Raises NoBrowser."""
    program = next((found for name in NAMES if (found := shutil.which(name))), None)
    if program is None:
        raise NoBrowser("no Chromium: install the package chromium")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            program,
            *FLAGS,
            "--remote-debugging-port=0",
            f"--user-data-dir={profile}",
            "about:blank",
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            yield Browser(await _port(process))
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def _port(process: asyncio.subprocess.Process) -> int:
    assert process.stderr is not None
    async with asyncio.timeout(SECONDS):
        async for line in process.stderr:
            if line.startswith(b"DevTools listening on"):
                return int(line.decode().split(":")[2].split("/")[0])
    raise NoBrowser("Chromium ended before it listened")


class Browser:
    def __init__(self, port: int) -> None:
        self._port = port

    @asynccontextmanager
    async def page(self, width: int, height: int, *, dark: bool = False, touch: bool = False) -> AsyncIterator[Page]:
        import httpx

        async with httpx.AsyncClient(trust_env=False) as client:
            made = (await client.put(f"http://127.0.0.1:{self._port}/json/new?about:blank", timeout=SECONDS)).json()
        async with connect(made["webSocketDebuggerUrl"], proxy=None, max_size=None, compression=None) as socket:
            page = Page(socket)
            await page.set_up(width, height, dark=dark, touch=touch)
            yield page
