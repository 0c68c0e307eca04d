"""Reads a journal without owning it: for a person who needs one value while the bridge runs, or cannot.

Opens read-only, takes no lock, counts no owner, needs no key: what is sealed stays sealed. Sees what is committed.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from bridge.channel.identifier import ChannelName
from bridge.errors import JournalUnavailable


@contextmanager
def reading(file: Path) -> Iterator[sqlite3.Connection]:
    """One view of it: what is written meanwhile is not in it. Raises JournalUnavailable, also from within the block."""
    address = f"file:{quote(str(file.resolve()))}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True, isolation_level=None)) as connection:
            connection.execute("BEGIN")
            yield connection
    except sqlite3.Error as error:
        raise JournalUnavailable(f"{file}: {error}") from error


def read_state(file: Path, channel: ChannelName) -> bytes | None:
    """The stored state of a channel; None if nothing was ever kept of it. Raises JournalUnavailable."""
    with reading(file) as connection:
        row = connection.execute("SELECT state FROM channel WHERE name=?", (channel,)).fetchone()
    return None if row is None else row[0]
