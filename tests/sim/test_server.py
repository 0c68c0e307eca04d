"""The simulated node as a process of its own: what `channel-bridge simulate` runs."""

import asyncio
import signal
import sys
from pathlib import Path

import httpx

CODE = """
import asyncio, sys
from pathlib import Path
from bridge.sim.program import Options, serve
asyncio.run(serve(Options(port=0, port_file=Path(sys.argv[1]), state_dir=Path(sys.argv[2]))))
"""


async def test_it_says_where_it_listens_and_stops_in_order(tmp_path: Path) -> None:
    """A script waits for the one line or the port file, and stops it with SIGTERM."""
    port_file, state = tmp_path / "port", tmp_path / "state"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", CODE, str(port_file), str(state)), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(30):
        line = (await process.stdout.readline()).decode()
        port = int(port_file.read_text())
        assert f"ws://127.0.0.1:{port}/channel" in line
        async with httpx.AsyncClient(trust_env=False) as http:
            status = (await http.get(f"http://127.0.0.1:{port}/v3/status")).json()
        assert status["network_id"] == "ae_dev"
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    assert not port_file.exists()
    assert [path.name for path in state.iterdir()] == ["simulated-node.json"]
