"""Alive and ready are two questions. Alive: the event loop turns, for otherwise nobody answers at all.

Ready: each part is asked at the moment of the question, nothing is remembered. A process that starts or stops is
not ready and says which of the two it is.
"""

import json
from collections.abc import Callable, Mapping
from enum import StrEnum
from http import HTTPStatus

from bridge.app.http import JSON, Answer
from bridge.app.settings import Http

Part = Callable[[], str]
"""Why this part is not ready, in a sentence; empty: it is."""


class Stage(StrEnum):
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"


class Health:
    def __init__(self, stage: Callable[[], Stage], parts: Mapping[str, Part]) -> None:
        self._stage = stage
        self._parts = parts

    def missing(self) -> dict[str, str]:
        """What is not ready, and why."""
        found = {name: why for name, part in self._parts.items() if (why := part())}
        stage = self._stage()
        return found if stage is Stage.RUNNING else {"process": stage.value, **found}

    def parts(self) -> dict[str, bool]:
        """Every part, and whether it is ready."""
        missing = self.missing()
        return {name: name not in missing for name in ("process", *self._parts)}

    async def livez(self, _: str = "") -> Answer:
        return _write(HTTPStatus.OK, {"alive": True})

    async def readyz(self, _: str = "") -> Answer:
        missing = self.missing()
        status = HTTPStatus.SERVICE_UNAVAILABLE if missing else HTTPStatus.OK
        return _write(status, {"ready": not missing, "missing": missing, "stage": self._stage().value})


def _write(status: HTTPStatus, body: Mapping[str, object]) -> Answer:
    return Answer(json.dumps(body).encode() + b"\n", JSON, status)


def probe_url(http: Http) -> str:
    """Where a process with these settings answers its own probes. An address of all interfaces is asked on loopback."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(http.host, http.host)  # noqa: S104  # compared, not listened on
    scheme = "http" if http.certificate_file is None else "https"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{http.port}"
