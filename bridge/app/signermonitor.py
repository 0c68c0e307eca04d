"""What can be seen of a running signer: readiness and metrics. It has no console and shows nothing it signs."""

import asyncio

from bridge.app.bus import RabbitBus
from bridge.app.health import Health, Stage
from bridge.app.http import HttpServer, Site
from bridge.app.meter import Meter, Sample, process_samples
from bridge.app.observer import Observer
from bridge.app.settings import Http


class SignerMonitor:
    """Ready: the broker is connected and the account's queues are read."""

    def __init__(self, bus: RabbitBus, ready: asyncio.Event, stopping: asyncio.Event) -> None:
        self.observer = Observer()
        self._bus = bus
        self._ready = ready
        self._stopping = stopping
        self.health = Health(self._stage, {"broker": self._broker})
        self._meter = Meter(self._samples, program="signer")
        self.observer.subscribe(self._meter.take)

    def server(self, http: Http) -> HttpServer:
        pages = {"/livez": self.health.livez, "/readyz": self.health.readyz, "/metrics": self._meter.page}
        return HttpServer(http, Site(pages))

    def _stage(self) -> Stage:
        if self._stopping.is_set():
            return Stage.STOPPING
        return Stage.RUNNING if self._ready.is_set() else Stage.STARTING

    def _broker(self) -> str:
        return next((f"no connection to {one.name}" for one in self._bus.connections if not one.is_up), "")

    async def _samples(self) -> list[Sample]:
        return list(process_samples(self.health, self._bus.connections))
