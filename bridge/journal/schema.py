"""The tables, and their version. A database of another version is refused, never guessed at.

A migration is a script in `MIGRATIONS` under the version it starts from. Numbers are committed together with
the tables they describe, so a crash in between leaves the version before.
"""

import sqlite3
from collections.abc import Mapping

from bridge.errors import JournalUnavailable

VERSION = 4

# The two unique indexes of the ledger are the invariants I3 and I4: what would break them is not stored.
# The two partial indexes of the inbox keep the questions asked at every command small, however many commands wait or
# have ended; the first has the order of the line in it, an operator's checkpoint before all others.
TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE channel (
    name TEXT PRIMARY KEY, state BLOB, seq INTEGER NOT NULL DEFAULT 0, prev TEXT NOT NULL DEFAULT '',
    fsm_id BLOB, previous_fsm_id BLOB, reestablished INTEGER NOT NULL DEFAULT 0,
    cosigned_round INTEGER, cosigned TEXT
);
CREATE TABLE inbox (
    position INTEGER PRIMARY KEY AUTOINCREMENT, command_id TEXT NOT NULL UNIQUE, channel TEXT NOT NULL,
    kind TEXT NOT NULL, author TEXT NOT NULL, body_hash TEXT NOT NULL, body BLOB NOT NULL, reply_to TEXT,
    correlation_id TEXT, received_at REAL NOT NULL, status TEXT NOT NULL, outcome BLOB
);
CREATE INDEX inbox_line ON inbox (channel, kind = 'checkpoint' DESC, position) WHERE status = 'journaled';
CREATE INDEX inbox_running ON inbox (channel, position) WHERE status IN ('running', 'in_doubt');
CREATE INDEX inbox_age ON inbox (received_at);
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT, lane TEXT NOT NULL, properties TEXT NOT NULL, body BLOB NOT NULL,
    created_at REAL NOT NULL
);
CREATE TABLE event (
    channel TEXT NOT NULL, seq INTEGER NOT NULL, event_id TEXT NOT NULL, routing_key TEXT NOT NULL,
    type TEXT NOT NULL, body BLOB NOT NULL, headers TEXT NOT NULL, at REAL NOT NULL, UNIQUE (channel, seq)
);
CREATE INDEX event_age ON event (at);
CREATE TABLE ledger (
    id INTEGER PRIMARY KEY AUTOINCREMENT, channel TEXT NOT NULL, round INTEGER, hash TEXT NOT NULL,
    command_id TEXT, tag TEXT NOT NULL, signed_tx TEXT NOT NULL, epoch INTEGER NOT NULL, at REAL NOT NULL,
    attempt INTEGER NOT NULL, abandoned_by TEXT, is_exposed INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX ledger_round ON ledger (channel, round);
CREATE INDEX ledger_age ON ledger (at);
CREATE UNIQUE INDEX ledger_attempt ON ledger (command_id, attempt) WHERE command_id IS NOT NULL;
CREATE UNIQUE INDEX ledger_live ON ledger (channel, round) WHERE round IS NOT NULL AND abandoned_by IS NULL;
"""

# AUTOINCREMENT: SQLite counts the rows ever written in a table of its own, so one that is missing at the end shows.
# The triggers keep our own code from changing what is written; whoever holds the file can drop them.
AUDIT = """
CREATE TABLE audit (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, kind TEXT NOT NULL, verdict TEXT NOT NULL,
    author TEXT, command_id TEXT, channel TEXT, round INTEGER, tx_hash TEXT, code TEXT, reference TEXT,
    prev BLOB NOT NULL, hash BLOB NOT NULL
);
CREATE TRIGGER audit_unchanged BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
CREATE TRIGGER audit_kept BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
"""

# The books outlive the events that told of them. `posting` is the data of the event `ledger.posted`, byte for byte.
POSTINGS = """
CREATE TABLE posting (
    channel TEXT NOT NULL, entry INTEGER NOT NULL, seq INTEGER NOT NULL, event_id TEXT NOT NULL, at REAL NOT NULL,
    body BLOB NOT NULL, PRIMARY KEY (channel, entry)
) WITHOUT ROWID;
CREATE TRIGGER posting_unchanged BEFORE UPDATE ON posting BEGIN SELECT RAISE(ABORT, 'the books are append-only'); END;
CREATE TRIGGER posting_kept BEFORE DELETE ON posting BEGIN SELECT RAISE(ABORT, 'the books are append-only'); END;
"""

TRACE = "ALTER TABLE inbox ADD COLUMN traceparent TEXT; ALTER TABLE inbox ADD COLUMN tracestate TEXT;"

MIGRATIONS: Mapping[int, str] = {0: TABLES, 1: AUDIT, 2: POSTINGS, 3: TRACE}
"""From each earlier version to the one after it. 0 is a file nobody has written yet."""


def read_version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def check_version(connection: sqlite3.Connection) -> int:
    """The version it has. Raises JournalUnavailable for one this program does not know."""
    found = read_version(connection)
    if found != VERSION and found not in MIGRATIONS:
        raise JournalUnavailable(
            f"the journal has version {found}, this program knows {VERSION}: start the program that wrote it"
        )
    return found


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the tables to `VERSION`. Raises JournalUnavailable for a version this program does not know."""
    while (found := check_version(connection)) != VERSION:
        connection.executescript(f"BEGIN IMMEDIATE; {MIGRATIONS[found]} PRAGMA user_version={found + 1}; COMMIT")
