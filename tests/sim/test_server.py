"""The simulated node as a process of its own: what `channel-bridge simulate` runs, with and without controls."""

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

COMMAND = (sys.executable, "-c", "from bridge.app.cli import main; main()", "simulate", "--port", "0")
BOUND_SECONDS = 30


@asynccontextmanager
async def simulating(*options: str) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(*COMMAND, *options, stdout=PIPE, stderr=PIPE)
    try:
        async with asyncio.timeout(BOUND_SECONDS):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def read_line(process: Process) -> str:
    assert process.stdout is not None
    return (await process.stdout.readline()).decode()


async def test_it_says_where_it_listens_and_stops_in_order(tmp_path: Path) -> None:
    """A script waits for the one line or the port file, and stops it with SIGTERM."""
    port_file, state = tmp_path / "port", tmp_path / "state"
    async with simulating("--port-file", str(port_file), "--state-dir", str(state)) as process:
        line = await read_line(process)
        port = int(port_file.read_text())
        assert f"ws://127.0.0.1:{port}/channel" in line
        async with httpx.AsyncClient(trust_env=False) as http:
            status = (await http.get(f"http://127.0.0.1:{port}/v3/status")).json()
        assert status["network_id"] == "ae_dev"
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    assert not port_file.exists()
    assert [path.name for path in state.iterdir()] == ["simulated-node.json"]


async def test_a_process_is_killed_and_started_through_its_controls(tmp_path: Path) -> None:
    """Real-process fault runs have no other hand on the node; the control port outlives what it does."""
    control_file = tmp_path / "control"
    async with simulating("--control-port", "0", "--control-file", str(control_file)) as process:
        assert "simulated node" in await read_line(process)
        assert "controls at" in await read_line(process)
        url = f"http://127.0.0.1:{int(control_file.read_text())}/sim"
        async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
            assert (await http.post("/kill")).json() == {"done": "kill", "sockets": 0}
            stopped = (await http.get("/node")).json()
            assert (await http.post("/start")).status_code == 200
            started = (await http.get("/node")).json()
        assert (stopped["is_listening"], started["is_listening"]) == (False, True)
        assert stopped["port"] == started["port"]
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    assert not control_file.exists()


async def test_a_scenario_is_played_from_the_start(tmp_path: Path) -> None:
    """`channel-bridge simulate --scenario FILE`, its progress shown beside the controls."""
    scenario = tmp_path / "faults.toml"
    scenario.write_text('steps = ["hold_mining", "kill", { do = "await", word = "never" }]')
    async with simulating("--control-port", "0", "--scenario", str(scenario)) as process:
        await read_line(process)
        url = (await read_line(process)).split()[-1]
        async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
            shown = (await http.get("/scenario")).json()
            while shown["position"] < 2:
                shown = (await http.get("/scenario")).json()
            assert shown == {"steps": 3, "position": 2, "is_over": False, "error": None}
            node = (await http.get("/node")).json()
        assert (node["is_listening"], node["is_mining"]) == (False, False)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


async def test_a_wrong_scenario_is_refused_before_anything_listens(tmp_path: Path) -> None:
    """Exit code 2 and the place of each mistake."""
    scenario = tmp_path / "faults.json"
    scenario.write_text('["open", "cutt"]')
    async with simulating("--scenario", str(scenario)) as process:
        _, said = await process.communicate()
        assert process.returncode == 2
        assert "steps[1]" in said.decode()
