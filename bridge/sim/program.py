"""The simulated node as a program: what `channel-bridge simulate` runs, until SIGTERM or SIGINT."""

import asyncio
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from bridge.sim.control import Control
from bridge.sim.fault import Fault, Pause
from bridge.sim.scenario import Scenario
from bridge.sim.server import SimulatedNode


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line sets."""

    host: str = "127.0.0.1"
    port: int = 3014
    network_id: str = "ae_dev"
    state_dir: Path | None = None
    port_file: Path | None = None
    auto_mine: bool = True
    seed: int | None = None
    control_port: int | None = None
    """Controls over HTTP at this loopback port, 0 for a free one; None: there are none."""
    control_file: Path | None = None
    """Written with the control port once it listens."""
    steps: tuple[Fault | Pause, ...] = ()
    """A scenario, played from the start."""


async def serve(options: Options) -> None:
    """Run until SIGTERM or SIGINT; a stop in order."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with AsyncExitStack() as stack:
        node = await _start_node(options, stack)
        print(f"simulated node {options.network_id} at {node.url}", flush=True)
        control = Control(node, options.control_port or 0)
        if options.control_port is not None:
            _start_control(control, options, stack)
        if options.steps:
            stack.push_async_callback(_give_up, control.begin(Scenario(list(options.steps))))
        await stopped.wait()


async def _start_node(options: Options, stack: AsyncExitStack) -> SimulatedNode:
    node = SimulatedNode(
        network_id=options.network_id,
        host=options.host,
        port=options.port,
        auto_mine=options.auto_mine,
        seed=options.seed,
        state_dir=options.state_dir,
    )
    await node.start()
    stack.push_async_callback(_stop, node)
    _announce(options.port_file, node.port, stack.callback)
    return node


def _start_control(control: Control, options: Options, stack: AsyncExitStack) -> None:
    control.start()
    stack.push_async_callback(control.stop)
    _announce(options.control_file, control.port, stack.callback)
    print(f"controls at {control.url}", flush=True)


def _announce(path: Path | None, port: int, at_end: Callable[[Callable[[], None]], object]) -> None:
    if path is not None:
        path.write_text(f"{port}\n")
        at_end(lambda: path.unlink(missing_ok=True))


async def _stop(node: SimulatedNode) -> None:
    """In order, unless a fault stopped or killed it already."""
    if node.is_listening:
        await node.stop()


async def _give_up(task: asyncio.Task[None]) -> None:
    """A scenario that failed says so; one under way is dropped."""
    if not task.done():
        task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    if not task.cancelled() and (error := task.exception()) is not None:
        raise error
