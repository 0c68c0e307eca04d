"""Reads a journal without owning it: for a person who needs one value while the bridge runs, or cannot.

Opens read-only, takes no lock, counts no owner, needs no key: what is sealed stays sealed. Sees what is committed.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from bridge.channel.identifier import ChannelName
from bridge.errors import JournalUnavailable


def read_state(file: Path, channel: ChannelName) -> bytes | None:
    """The stored state of a channel; None if nothing was ever kept of it. Raises JournalUnavailable."""
    try:
        with closing(sqlite3.connect(f"file:{quote(str(file.resolve()))}?mode=ro", uri=True)) as connection:
            row = connection.execute("SELECT state FROM channel WHERE name=?", (channel,)).fetchone()
    except sqlite3.Error as error:
        raise JournalUnavailable(f"{file}: {error}") from error
    return None if row is None else row[0]
