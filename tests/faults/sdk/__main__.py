"""`python -m tests.faults.sdk`: the official JavaScript SDK's Channel against the simulated node, with figures.

What a client written for the real node expects, the simulated one must do. The SDK is installed once, exactly as
locked, below `.cache/`, and runs as a process of its own; nothing of the bridge takes part. Exit code 0 if all held.
"""

import asyncio
import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from bridge.channel.terms import Role
from bridge.sim import view
from bridge.sim.ledger import GENESIS
from bridge.sim.server import SimulatedNode

HERE = Path(__file__).parent
CACHE = HERE.parents[2] / ".cache" / "sdk"
OLDEST_NODE = (18, 19)
INSTALL_SECONDS, RUN_SECONDS = 300, 180
PAYMENTS_EACH_WAY = 50
FLOWS = (
    ("open_ms", "opened in", " ms"),
    ("payments", "paid", ""),
    ("payments_per_second", "paid a second", ""),
    ("refused", "refused", ""),
    ("messages", "talked", ""),
    ("deposit", "deposited", ""),
    ("withdraw", "withdrew", ""),
    ("reconnected", "reconnected", ""),
    ("reestablished", "reestablished", ""),
    ("closed_at", "closed at round", ""),
)
"""The driver's own name of each figure, what it has done by then, and the unit."""


class Missing(Exception):
    """Something this needs is not on the machine."""


def find_tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise Missing(f"{name} is not on the PATH: install Node.js 18.19 or later, which brings node and npm")
    return found


def check_node(node: str) -> str:
    """Its version. Raises Missing if it is too old for the SDK."""
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=True, timeout=30).stdout.strip()
    version = tuple(int(part) for part in re.findall(r"\d+", said)[:2])
    if version < OLDEST_NODE:
        raise Missing(f"node is {said}: the SDK needs 18.19 or later")
    return said


def install(npm: str) -> Path:
    """Where the driver lies beside the installed SDK; a lock installed before is not installed again."""
    lock = (HERE / "package-lock.json").read_bytes()
    target = CACHE / hashlib.sha256(lock).hexdigest()[:16]
    target.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json", "main.mjs"):
        shutil.copyfile(HERE / name, target / name)
    done = target / "installed"
    if not done.exists():
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        result = subprocess.run(
            command, cwd=target, capture_output=True, text=True, check=False, timeout=INSTALL_SECONDS
        )
        if result.returncode != 0:
            raise Missing(f"the SDK could not be installed:\n{result.stderr.strip()}")
        done.touch()
    return target


async def drive(node: str, folder: Path, simulated: SimulatedNode) -> dict[str, Any]:
    """The driver's own story; one without JSON is told as an error."""
    command = (node, "main.mjs", simulated.url, simulated.chain.network_id, str(PAYMENTS_EACH_WAY))
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(RUN_SECONDS):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    try:
        story = json.loads(out.decode().splitlines()[-1])
    except (ValueError, IndexError):
        return {"ok": False, "error": f"the driver ended with {process.returncode}: {err.decode()[-2000:]}"}
    return dict(story)


def compare(simulated: SimulatedNode, story: dict[str, Any]) -> list[str]:
    """What the node saw and the SDK did not say, or the other way round."""
    found = [entry for entry in view.channels(simulated)["channels"] if entry["channel_id"] == story["channel_id"]]
    if len(found) != 1:
        return [f"the node knows {len(found)} channels of that id"]
    channel = found[0]
    wanted = story["payments"] + 3
    complaints = []
    if len(channel["transfers"]) != wanted:
        complaints.append(f"{len(channel['transfers'])} transfers applied, {wanted} made")
    if any(sorted(entry["sides"]) != sorted(role.value for role in Role) for entry in channel["transfers"]):
        complaints.append("a transfer is known to one side only")
    if channel["is_on_chain"]:
        complaints.append("the channel is still open on chain")
    if channel["strays"]:
        complaints.append(f"{channel['strays']} signed replies nobody waited for")
    return complaints


def check_coins(simulated: SimulatedNode, story: dict[str, Any]) -> list[str]:
    """Nothing is made or lost on chain but fees, which a chain without a miner burns."""
    total = sum(simulated.balance(story[name]) for name in ("initiator", "responder"))
    burnt = 2 * GENESIS - total
    return [] if 0 < burnt < 10**15 else [f"{burnt} aettos are missing on chain"]


async def run() -> int:
    node, npm = find_tool("node"), find_tool("npm")
    version = check_node(node)
    folder = await asyncio.to_thread(install, npm)
    sdk = json.loads((folder / "node_modules/@aeternity/aepp-sdk/package.json").read_text())["version"]
    simulated = SimulatedNode()
    await simulated.start()
    try:
        story = await drive(node, folder, simulated)
        complaints = [] if story["ok"] else [story["error"]]
        if story["ok"]:
            complaints = [*check_flows(story), *compare(simulated, story), *check_coins(simulated, story)]
    finally:
        await simulated.stop()
    for complaint in complaints:
        print(f"sdk: {complaint}", file=sys.stderr)
    print(tell(story, version, sdk, len(complaints)), flush=True)
    return 1 if complaints else 0


def tell(story: dict[str, Any], version: str, sdk: str, complaints: int) -> str:
    """One line: each flow the driver has done, with its figure, and what it has not done."""
    done = [f"{word} {story[name]:.0f}{unit}" for name, word, unit in FLOWS if name in story]
    verdict = f"failed with {complaints} complaints" if complaints else "passed"
    missed = [word for name, word, _ in FLOWS if name not in story]
    rest = f"; not {', '.join(missed)}" if missed else ""
    return f"sdk: {verdict}, aepp-sdk {sdk} on node {version}: {', '.join(done) or 'nothing'}{rest}"


def check_flows(story: dict[str, Any]) -> list[str]:
    """A driver that left a flow out would have shown nothing about it."""
    return [f"it has not {word}" for name, word, _ in FLOWS if name not in story]


def main() -> int:
    try:
        return asyncio.run(run())
    except Missing as missing:
        print(f"sdk: {missing}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
