"""A process that commits until it is killed: `python -m tests.journal.committer DIRECTORY RUN`.

It prints the id of each command as soon as its commit was confirmed, and not before. Each batch holds one row of
every table, so that half a batch would show.
"""

import asyncio
import sys
import time
from dataclasses import replace
from itertools import count
from pathlib import Path

from bridge.channel.identifier import ChannelName
from bridge.journal.record import Batch, NewOutbox
from tests.journal.given import audit_entry, command, envelope, event, ledger_row, open_journal

LINES = 8


async def commit(directory: Path, run: str) -> None:
    async with open_journal(directory, time.time) as journal, asyncio.TaskGroup() as group:

        async def line(channel: ChannelName) -> None:
            for number in count(1):
                name = f"{channel}:{number}"
                batch = Batch(
                    channel,
                    state=name.encode(),
                    seq=number,
                    add_inbox=(command(name, channel),),
                    outbox=(NewOutbox(channel, envelope(name.encode())),),
                    events=(event(number, channel),),
                    ledger=(replace(ledger_row(name), channel=channel, round=number, command_id=name),),
                    audit=(audit_entry(name, channel),),
                )
                await journal.commit(batch)
                print(name, flush=True)

        for number in range(LINES):
            group.create_task(line(ChannelName(f"run-{run}-line-{number}")))


if __name__ == "__main__":
    asyncio.run(commit(Path(sys.argv[1]), sys.argv[2]))
