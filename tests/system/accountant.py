"""The accounting consumer of the documents as a process of its own, killed and started again at will."""

import asyncio
import os
import sqlite3
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from bridge.app.auditreport import journal_file
from bridge.app.booksreport import export_json

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "accounting_consumer.py"


class Accountant:
    """`url` is that of its user. Its file is `books.sqlite3` in the directory."""

    def __init__(self, url: str, prefix: str, directory: Path, *channels: str) -> None:
        self.file = directory / "books.sqlite3"
        self._words = (sys.executable, str(EXAMPLE), str(self.file), *channels)
        self._environment = {**os.environ, "AMQP_URL": url, "PREFIX": prefix}
        self._log = directory / "accountant.log"
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self._words,
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )

    async def listens(self) -> None:
        """Its queue is bound: whatever is posted from now on is kept for it."""
        assert self.process is not None
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        assert line.startswith(b"reading "), self._log.read_text()

    async def fill(self, data: Path) -> str:
        """Take from the journal what was posted before its queue was there; what the program said."""
        exported = "\n".join(export_json(journal_file(data), None))
        process = await asyncio.create_subprocess_exec(
            *self._words[:3], "--import", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        told, _ = await process.communicate(exported.encode())
        assert process.returncode == 0
        return told.decode().strip()

    async def kill(self) -> None:
        """SIGKILL, if it has not ended by itself."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    @property
    def has_ended(self) -> bool:
        return self.process is not None and self.process.returncode is not None

    def ask(self, question: str, *values: object) -> list[tuple[object, ...]]:
        """Of its file, as it stands; nothing before it was ever written."""
        if not self.file.exists():
            return []
        with closing(sqlite3.connect(f"file:{self.file}?mode=ro", uri=True, timeout=30)) as db:
            try:
                return db.execute(question, values).fetchall()
            except sqlite3.OperationalError:
                return []  # the tables are not there yet

    def entries(self) -> Mapping[str, int]:
        """Channel to how many of its entries are booked."""
        return {
            str(name): int(str(count))
            for name, count in self.ask("SELECT channel, count(*) FROM entry GROUP BY channel")
        }

    def sums(self, channel: str) -> dict[str, int]:
        """Account to the sum of its lines, added up here and not taken from any balance that was told."""
        sums: dict[str, int] = {}
        for account, debit, credit in self.ask("SELECT account, debit, credit FROM line WHERE channel=?", channel):
            sums[str(account)] = sums.get(str(account), 0) + int(str(debit)) - int(str(credit))
        return sums
