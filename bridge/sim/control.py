"""Controls of a running simulated node over HTTP, at a port of their own that outlives a stop or kill of the node.

`GET /sim/channels`, `/sim/signatures`, `/sim/frames`, `/sim/node`, `/sim/scenario` look; `POST /sim/<fault>` with the
fault's fields as a JSON object does it at once; `POST /sim/scenario` plays a list. Loopback only, whatever else is
configured: whoever reaches this can ruin every channel. Requests are served by threads of the standard library's
server and carried out in the node's own event loop.
"""

import asyncio
import json
import logging
import threading
from collections.abc import Callable, Coroutine
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pydantic import TypeAdapter, ValidationError

from bridge.sim import view
from bridge.sim.fault import AnyFault, Fault
from bridge.sim.nemesis import carry_out
from bridge.sim.scenario import Scenario, ScenarioInvalid, parse
from bridge.sim.server import SimulatedNode

LOOPBACK = "127.0.0.1"
ANSWER_SECONDS = 60.0
"""Longest a request waits for the node; a longer flood goes on without it."""
MAX_BODY_BYTES = 1024 * 1024
log = logging.getLogger(__name__)

_FAULT: TypeAdapter[Fault] = TypeAdapter(AnyFault)


class _Refused(Exception):
    """The request's mistake."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Control:
    """`start` in the node's event loop; stop it there too."""

    def __init__(self, node: SimulatedNode, port: int = 0) -> None:
        self._node = node
        self._port = port
        self._server: ThreadingHTTPServer | None = None
        self._playing: tuple[Scenario, asyncio.Task[None]] | None = None

    @property
    def port(self) -> int:
        return self._port

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self._port}/sim"

    def start(self) -> None:
        run = partial(self._run_in_loop, asyncio.get_running_loop())
        self._server = ThreadingHTTPServer((LOOPBACK, self._port), partial(_Handler, self, run))
        self._server.daemon_threads = True
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="sim-control", daemon=True).start()

    async def stop(self) -> None:
        """No further request; a scenario under way is given up."""
        if self._server is not None:
            await asyncio.to_thread(self._server.shutdown)
            self._server.server_close()
            self._server = None
        if self._playing is not None:
            self._playing[1].cancel()
            await asyncio.gather(self._playing[1], return_exceptions=True)

    def _run_in_loop(self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any]) -> Any:
        """From a thread: carry it out among the node's own tasks, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, loop).result(ANSWER_SECONDS)

    # --- in the node's loop -------------------------------------------------------------------------------

    async def look(self, parts: list[str]) -> Any:
        """Raises _Refused for what there is not."""
        node = self._node
        match parts:
            case ["channels"]:
                return view.channels(node)
            case ["channels", channel]:
                found = [entry for entry in view.channels(node)["channels"] if entry["channel_id"] == channel]
                if found:
                    return found[0]
            case ["signatures"]:
                return view.signatures(node)
            case ["frames"]:
                return node.tally.report()
            case ["node"]:
                return view.node(node)
            case ["scenario"]:
                return self._describe_scenario()
        raise _Refused(HTTPStatus.NOT_FOUND, "there is no such view")

    async def do(self, name: str, fields: Any) -> Any:
        """A fault at once, or a scenario. Raises _Refused."""
        if name == "scenario":
            return await self.play(fields.get("steps") if isinstance(fields, dict) else fields)
        if not isinstance(fields, dict):
            raise _Refused(HTTPStatus.BAD_REQUEST, "a JSON object with the fault's fields is wanted")
        try:
            fault = _FAULT.validate_python(fields | {"do": name})
        except ValidationError as error:
            raise _Refused(HTTPStatus.BAD_REQUEST, _explain(error)) from None
        return {"done": name, "sockets": await carry_out(self._node, fault)}

    async def play(self, steps: Any) -> Any:
        """Begins; one at a time. Look at `/sim/scenario` for how far it is."""
        if self._playing is not None and not self._playing[1].done():
            raise _Refused(HTTPStatus.CONFLICT, "a scenario is being played")
        try:
            scenario = Scenario(parse(steps))
        except ScenarioInvalid as error:
            raise _Refused(HTTPStatus.BAD_REQUEST, str(error)) from None
        self.begin(scenario)
        return self._describe_scenario()

    def begin(self, scenario: Scenario) -> asyncio.Task[None]:
        """Play it; `/sim/scenario` shows how far it is."""
        task = asyncio.create_task(scenario.play(self._node))
        self._playing = scenario, task
        return task

    def _describe_scenario(self) -> dict[str, Any]:
        if self._playing is None:
            return {"steps": 0, "position": 0, "is_over": True, "error": None}
        scenario, task = self._playing
        error = task.exception() if task.done() and not task.cancelled() else None
        return {
            "steps": len(scenario.steps),
            "position": scenario.position,
            "is_over": scenario.is_over,
            "error": None if error is None else repr(error),
        }


def _explain(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, found['loc']))}: {found['msg']}" for found in error.errors())


class _Handler(BaseHTTPRequestHandler):
    """One connection, in a thread of its own."""

    def __init__(self, control: Control, run: Callable[[Coroutine[Any, Any, Any]], Any], *args: Any) -> None:
        self._control = control
        self._run = run
        super().__init__(*args)

    def do_GET(self) -> None:
        self._answer(lambda: self._run(self._control.look(self._parts())))

    def do_POST(self) -> None:
        self._answer(self._post)

    def _post(self) -> Any:
        parts = self._parts()
        if len(parts) != 1:
            raise _Refused(HTTPStatus.NOT_FOUND, "POST /sim/<fault>")
        return self._run(self._control.do(parts[0], self._read_body()))

    def _parts(self) -> list[str]:
        first, *rest = self.path.partition("?")[0].strip("/").split("/")
        if first != "sim":
            raise _Refused(HTTPStatus.NOT_FOUND, "everything is below /sim")
        return rest

    def _read_body(self) -> Any:
        length = int(self.headers.get("Content-Length") or 0)
        if length > MAX_BODY_BYTES:
            raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too large")
        try:
            return json.loads(self.rfile.read(length) or b"{}")
        except (ValueError, RecursionError):
            raise _Refused(HTTPStatus.BAD_REQUEST, "the body is no JSON") from None

    def _answer(self, work: Callable[[], Any]) -> None:
        status, body = HTTPStatus.OK, None
        try:
            body = work()
        except _Refused as refused:
            status, body = refused.status, {"reason": str(refused)}
        except TimeoutError:
            status, body = HTTPStatus.GATEWAY_TIMEOUT, {"reason": "not done yet"}
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the library's name for it
        log.debug(format, *args)
