"""The composition's parts, run from the image against a real RabbitMQ: set up, open a channel, pay, stop, start, ask.

What `docker compose up` would start is started here by hand, with the same files, mounts and variables: `setup`, the
simulated node, two signers, the bridge, the client. RabbitMQ is the project's private one, with the certificates and
definitions that `setup` made; it stands under the name in its certificate.
"""

import asyncio
import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bridge.broker.private import PrivateBroker, TlsListener
from tools.image.engine import ROOT, Container, Engine, ImageWrong, Mount, run

PARTS = ("broker", "bridge", "signer-initiator", "signer-responder", "people")
HOSTS = ("rabbitmq", "node")
USER = 10001
FILES, DATA = "/etc/channel-bridge", "/var/lib/channel-bridge"
READY_SECONDS = 120.0
STOP_SECONDS = 30.0


@dataclass
class Play:
    engine: Engine
    folder: Path
    checked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        ports = _free_ports(5)
        self._broker_port, self._node_port = ports[:2]
        self._http = dict(zip(("bridge", "signer-initiator", "signer-responder"), ports[2:], strict=True))
        for name in (*PARTS, "data-bridge", "data-signer-initiator", "data-signer-responder"):
            (self.folder / name).mkdir()
        for name in self._http:
            # An engine gives an empty volume the owner of the image's own directory.
            _give_to_service(self.folder / f"data-{name}")

    def perform(self) -> None:
        self._set_up()
        asyncio.run(self._with_broker())

    # --- setup ------------------------------------------------------------------------------------------------

    def _set_up(self) -> None:
        """As compose.yaml has it: root with one capability. The second time changes nothing."""
        mounts = [Mount(self.folder / part, f"/volumes/{part}", is_writable=True) for part in PARTS]
        mounts.append(Mount(ROOT / "docker" / "first_start.py", "/setup/first_start.py"))
        words = ["--broker", f"rabbitmq:{self._broker_port}", "--node", f"node:{self._node_port}"]
        command = ["python", "/setup/first_start.py", "/volumes", *words]
        setup = Container(command, mounts, user=0, capabilities=["chown"], folder="/")
        self._finish(setup)
        before = self._fingerprints()
        self._finish(setup)
        if self._fingerprints() != before:
            raise ImageWrong("the second run of setup changed something")
        self.checked.append("setup twice")

    def _fingerprints(self) -> dict[Path, tuple[int, int]]:
        files = (file for part in PARTS for file in (self.folder / part).iterdir())
        return {file: (file.stat().st_ino, file.stat().st_mtime_ns) for file in files}

    # --- the parts --------------------------------------------------------------------------------------------

    async def _with_broker(self) -> None:
        own = self.folder / "broker"
        definitions = json.loads((own / "definitions.json").read_text())
        listener = TlsListener(own / "ca.pem", own / "server.pem", own / "server.key", port=self._broker_port)
        async with PrivateBroker(definitions, tls=listener):
            await asyncio.to_thread(self._run_parts)

    def _run_parts(self) -> None:
        with ExitStack() as stack:
            stack.callback(self.engine.clear)
            words = ["simulate", "--port", str(self._node_port), "--network-id", "ae_dev"]
            self._start("node", Container(["channel-bridge", *words]))
            for name in ("signer-initiator", "signer-responder"):
                self._start(name, self._part(name, "signer"))
            self._finish(self._part("bridge", "config", "check"))
            bridge = self._start("bridge", self._part("bridge", "run"))
            for name in self._http:
                self._await_health(name)
            self.checked.append("healthcheck of bridge and signers")
            self._pay()
            self._restart(bridge)

    def _part(self, name: str, *words: str) -> Container:
        mounts = [Mount(self.folder / name, FILES), Mount(self.folder / f"data-{name}", DATA, is_writable=True)]
        return Container(
            ["channel-bridge", *words],
            mounts,
            {"CHANNEL_BRIDGE_HTTP__HOST": "127.0.0.1", "CHANNEL_BRIDGE_HTTP__PORT": str(self._http[name])},
            HOSTS,
        )

    def _pay(self) -> None:
        accounts = dict(line.split("=", 1) for line in (self.folder / "people" / "accounts").read_text().split())
        words = [f"from={accounts['INITIATOR']}", f"to={accounts['RESPONDER']}", "amount=5"]
        result = self._send("transfer", *words)
        if result["outcome"] != "succeeded":
            raise ImageWrong(f"the payment ended {result}")
        self.checked.append("a payment over TLS with least-privilege users")

    def _restart(self, bridge: subprocess.Popen[bytes]) -> None:
        """Stopped as an orchestrator stops it, and started again on its volume, with nothing else kept."""
        self.engine.interrupt(bridge)
        code = bridge.wait(timeout=STOP_SECONDS)
        if code != 0:
            raise ImageWrong(f"SIGTERM ended the bridge with {code}: {self._last_words('bridge')}")
        self._start("bridge again", self._part("bridge", "run"))
        self._await_health("bridge")
        balances = self._send("query", "what=balances")["data"]["balances"]
        if sorted(balances.values()) != ["500000000000000005", "999999999999999995"]:
            raise ImageWrong(f"after a restart the balances are {balances}")
        self.checked.append("SIGTERM to the first process, exit 0, and the journal on its volume")

    def _send(self, command: str, *words: str) -> dict[str, Any]:
        """As compose's service `client` does."""
        client = Container(
            ["channel-bridge", "command", "send", "acme-7", command, *words],
            [Mount(self.folder / "people", FILES)],
            {
                "AMQP_URL_FILE": f"{FILES}/shop_url",
                "CHANNEL_BRIDGE_BROKER__TLS__CA_FILE": f"{FILES}/ca.pem",
            },
            HOSTS,
        )
        found = re.search(r"^\{$.*^\}$", self._finish(client), re.DOTALL | re.MULTILINE)
        if found is None:
            raise ImageWrong(f"command send {command} printed no result")
        result: dict[str, Any] = json.loads(found.group())
        return result

    # --- processes --------------------------------------------------------------------------------------------

    def _start(self, name: str, container: Container) -> subprocess.Popen[bytes]:
        print(f"image: starting {name}", flush=True)
        with (self.folder / f"{name}.log").open("wb") as log:
            return self.engine.start(container, log)

    def _last_words(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")[-3000:]

    def _finish(self, container: Container) -> str:
        code, output = run(self.engine, container)
        if code != 0:
            raise ImageWrong(f"{' '.join(container.command)} ended with {code}:\n{output[-3000:]}")
        return output

    def _await_health(self, name: str) -> None:
        """The image's own health command, asked again as an engine would."""
        words: Sequence[str] = self.engine.inspect()["Healthcheck"]["Test"][1:]
        deadline = time.monotonic() + READY_SECONDS
        while True:
            code, output = run(self.engine, self._part(name, *words[1:]))
            if code == 0:
                return
            if time.monotonic() > deadline:
                raise ImageWrong(
                    f"{name} is not healthy after {READY_SECONDS:g} s: {output[-1000:]} {self._last_words(name)}"
                )


def _give_to_service(folder: Path) -> None:
    os.chown(folder, USER, USER)
    folder.chmod(0o700)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
