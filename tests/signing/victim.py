"""A signer's process to be killed: `python -m tests.signing.victim`, one trial for each line on standard input.

A trial is `{"directory", "out", "side", "number", "requests"}`. A child answers the requests in turn and dies by
SIGKILL before or after its N-th durable commit; 0: never. What would leave the process goes to `out`, a line each:
`sent ID BODY` when a reply is published, `ack ID` when its request is, `end COMMITS`. Written back: how it ended. The
signer runs unchanged: the trap stands around its transactions.

The trials are forked, so that a hundred of them cost what one interpreter does.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from bridge.signing.guard import Guard
from bridge.signing.key import Key
from bridge.signing.signer import Signer
from bridge.signing.store import Store
from bridge.wire.body import SignRequestBody
from tests.signing.given import EVERYTHING, NOW, OWN, OWN_KEY


def trap(side: str, number: int, count: "list[int]") -> None:
    """From here on this process may end at any commit."""
    transaction = Store.transaction

    @contextmanager
    def trapped(self: Store) -> Iterator[None]:
        with transaction(self):
            yield
            count[0] += 1
            if (side, count[0]) == ("before", number):
                os.kill(os.getpid(), signal.SIGKILL)
        if (side, count[0]) == ("after", number):
            os.kill(os.getpid(), signal.SIGKILL)

    Store.transaction = trapped  # type: ignore[method-assign]


async def answer(directory: Path, requests: list[Any], out: TextIO) -> None:
    with Guard(directory) as guard:
        signer = Signer({OWN: Key(OWN_KEY)}, {OWN: EVERYTHING}, lambda: NOW, guard)
        for values in requests:
            request = SignRequestBody.model_validate(values)
            reply = await signer.answer(request)
            print("sent", request.sign_request_id, reply.model_dump_json(exclude_none=True), file=out, flush=True)
            print("ack", request.sign_request_id, file=out, flush=True)


def live(trial: dict[str, Any]) -> int:
    """How the child ended: the signal's number negative."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        count = [0]
        trap(trial["side"], trial["number"], count)
        with Path(trial["out"]).open("a") as out:
            asyncio.run(answer(Path(trial["directory"]), trial["requests"], out))
            print("end", count[0], file=out, flush=True)
        code = 0
    finally:
        os._exit(code)


def main() -> None:
    for line in sys.stdin:
        print(live(json.loads(line)), flush=True)


if __name__ == "__main__":
    main()
