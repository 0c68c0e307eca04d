"""The processes of a world that may die: bridges and signers. Starts them, kills them, starts them again, stops them.

Whoever is killed comes back after a while on the same data directory, as under a supervisor. Whoever ends by itself
does not, and is told of: none should.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from random import Random
from typing import Any

from bridge.app.access import Access
from bridge.app.service import Service
from bridge.app.settings import Broker
from bridge.app.signer import SignerService
from bridge.signing.guard import Guard
from bridge.sim.broker import MemoryBroker
from tests.simulation import cast as casting
from tests.simulation.bus import Wall, WatchedBus
from tests.simulation.cast import Cast
from tests.simulation.plan import Plan
from tests.simulation.point import Points
from tests.simulation.process import Process
from tests.simulation.trouble import MischievousBus, Trouble

STOP_SECONDS = 60.0
LOOK_SECONDS = 0.25


class Troop:
    """`now` gives seconds since the epoch."""

    def __init__(
        self,
        plan: Plan,
        cast: Cast,
        points: Points,
        broker: MemoryBroker,
        trouble: Trouble,
        now: Callable[[], float],
    ) -> None:
        self._plan = plan
        self._cast = cast
        self._points = points
        self._broker = broker
        self._trouble = trouble
        self._now = now
        self._running: dict[str, Process] = {}
        self._walls: dict[str, Wall] = {}
        self._tasks: dict[str, asyncio.Task[Any]] = {}
        self._down: dict[str, float] = {}
        self._guards: list[Guard] = []
        self._sessions = 0
        self.services: dict[str, Service] = {}
        self.deaths: dict[str, list[float]] = {}
        """When each process was killed, by the loop's time."""
        self.ended: list[str] = []
        """Processes that ended by themselves, and why: none should."""

    def begin(self) -> None:
        for name in (*self._plan.signers, *self._plan.bridges):
            self._start(name)

    def _start(self, name: str) -> None:
        process = self._running[name] = Process(name)
        self._tasks[name] = process.spawn(self._serve(name, process), name)

    async def _serve(self, name: str, process: Process) -> None:
        """Until it is stopped, or dead. What ends it otherwise is a fault, of the product or of this world."""
        try:
            await self._service(name, process).run()
        except Exception as error:  # the outermost frame of a process
            if not process.is_dead:
                self.ended.append(f"{name}: {describe(error)}")
                process.kill()
        else:
            process.forget()

    def _service(self, name: str, process: Process) -> Service | SignerService:
        bus = self._bus(name, process)
        if name in self._plan.signers:
            guard = Guard(self._cast.directory / name)
            self._guards.append(guard)
            process.at_death(guard.close)
            signer = casting.signer(self._cast.roles(name), self._now, guard)
            spoilt = MischievousBus(bus, self._trouble)
            return SignerService(self._cast.prefix(name), signer, Access(Broker()), self._now, bus=spoilt)
        service = self.services[name] = Service(self._cast.config(name), self._now, bus=bus)
        return service

    def _bus(self, name: str, process: Process) -> WatchedBus:
        session = self._broker.session(name.partition("-")[0])
        self._sessions += 1
        random = Random(f"bus {self._plan.seed} {self._sessions}")  # noqa: S311  # to repeat a run
        self._walls[name] = Wall(self._points, process, self._trouble, random, self.kill, session.drop)
        process.deaths.append(session.close)
        return WatchedBus(session, self._walls[name])

    # --- faults -------------------------------------------------------------------------------------------

    def kill(self, process: Process) -> None:
        """`kill -9`, and a start after a while. May be called from the victim's own code."""
        if process.is_dead or self._running.get(process.name) is not process:
            return
        self._points.note(f"KILLED {process.name}")
        process.kill()
        self.deaths.setdefault(process.name, []).append(asyncio.get_running_loop().time())
        aside(self._restart(process), f"restart {process.name}")

    def kill_named(self, name: str, down: float) -> None:
        if name in self._running:
            self._down[name] = down
            self.kill(self._running[name])

    async def rest(self, name: str, down: float) -> None:
        """SIGTERM, and a start so long after its end; returns with the start. Does nothing to whoever is down."""
        if not self._is_up(name):
            return
        self.services[name].stop()
        await asyncio.wait([self._tasks[name]])
        if not self._is_up(name):  # killed while it stopped: it comes back as whoever is killed
            return
        del self._running[name]
        self._points.note(f"STOPPED {name}")
        await asyncio.sleep(down)
        self._points.note(f"STARTED {name}")
        self._start(name)

    def _is_up(self, name: str) -> bool:
        process = self._running.get(name)
        return process is not None and not process.is_dead

    def lose_bus(self, name: str) -> None:
        self._walls[name].drop()

    async def _restart(self, process: Process) -> None:
        await process.reap()
        await asyncio.sleep(self._down.pop(process.name, self._plan.restart_seconds))
        self._points.note(f"STARTED {process.name}")
        self._start(process.name)

    async def read_metrics(self) -> dict[str, str]:
        """Of each bridge, by name; of one that is down what its last process could tell is gone with it."""
        up = {name: service for name, service in self.services.items() if self._is_up(name)}
        return {f"metrics {name}": await _page(service) for name, service in up.items()} or {"metrics": ""}

    async def stop(self) -> None:
        """The bridges in order, as SIGTERM would; whoever was just killed comes back first."""
        await asyncio.sleep(max(self._plan.restart_seconds, *self._down.values(), 0.0))
        for service in self.services.values():
            service.stop()
        tasks = [self._tasks[name] for name in self._plan.bridges]
        _, late = await asyncio.wait(tasks, timeout=STOP_SECONDS)
        self.ended += [f"{task.get_name()} does not stop" for task in late]

    def clear(self) -> None:
        """The world is over: the signers, which nobody stops, leave their records open."""
        for process in self._running.values():
            process.let_go()
        self._running.clear()
        self._tasks.clear()
        self.services.clear()
        for guard in self._guards:
            guard.close()


def aside(work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
    """A task of the world itself, whoever's code runs at the moment."""
    return asyncio.get_running_loop().create_task(work, name=name, context=Context())


async def _page(service: Service) -> str:
    answer = await service.monitor._meter.page()
    return answer.body.decode()


def describe(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"
