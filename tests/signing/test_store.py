"""`bridge.signing.store`: durable, owned by one, readable by nobody else, and refused where it cannot be trusted."""

import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bridge.channel.identifier import Account
from bridge.errors import GuardUnavailable, OwnerConflict
from bridge.signing.store import FILE, VERSION, Store

ACCOUNT = Account("ak_x")
SECOND = "import sys; from pathlib import Path; from bridge.signing.store import Store; Store(Path(sys.argv[1]))"


def test_second_owner_is_refused_and_the_first_one_lives_on(tmp_path: Path) -> None:
    """Two signers with one record would each overlook what the other signs."""
    store = Store(tmp_path)
    with pytest.raises(OwnerConflict, match=r"another signer has .* open"):
        Store(tmp_path)
    found = subprocess.run([sys.executable, "-c", SECOND, str(tmp_path)], capture_output=True, check=False)
    assert b"OwnerConflict" in found.stderr
    with store.transaction():
        store.add_reply(ACCOUNT, "a.1", "x", b"{}", 1.0)
    store.close()
    later = Store(tmp_path)
    assert later.find_reply(ACCOUNT, "a.1") == ("x", b"{}")
    later.close()


def test_files_are_their_owners_alone(tmp_path: Path) -> None:
    """No secret is in them, but who was paid when is nobody's business."""
    old = os.umask(0)
    try:
        store = Store(tmp_path / "data")
        with store.transaction():
            store.add_reply(ACCOUNT, "a.1", "x", b"{}", 1.0)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "data").iterdir()}
    finally:
        os.umask(old)
    store.close()
    assert modes == dict.fromkeys(modes, 0o600)
    assert FILE in modes
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


def _add_twice(store: Store) -> None:
    for _ in range(2):
        store.add_reply(ACCOUNT, "a.1", "x", b"{}", 1.0)


def test_failed_transaction_leaves_nothing_behind(tmp_path: Path) -> None:
    """Half an answer would be one that nobody gave."""
    store = Store(tmp_path)
    with pytest.raises(GuardUnavailable), store.transaction():
        _add_twice(store)
    assert store.find_reply(ACCOUNT, "a.1") is None
    with store.transaction():
        store.add_reply(ACCOUNT, "a.1", "y", b"{}", 1.0)
    store.close()


def test_file_of_another_version_is_refused(tmp_path: Path) -> None:
    """A program that guesses at a record signs what it should not."""
    Store(tmp_path).close()
    connection = sqlite3.connect(tmp_path / FILE)
    connection.execute(f"PRAGMA user_version={VERSION + 1}")
    connection.close()
    with pytest.raises(GuardUnavailable, match=f"version {VERSION + 1}"):
        Store(tmp_path)


def test_damaged_file_is_refused(tmp_path: Path) -> None:
    """An empty record made in its place would have signed nothing yet."""
    Store(tmp_path).close()
    content = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(b"x" * 100 + content[100:])
    with pytest.raises(GuardUnavailable, match="damaged"):
        Store(tmp_path)


def _remove_all(file: Path) -> None:
    for path in file.parent.glob(f"{FILE}*"):
        path.unlink()


@pytest.mark.parametrize("lose", [_remove_all, Path.unlink, lambda file: os.truncate(file, 0)])
def test_record_that_is_gone_is_not_begun_anew(tmp_path: Path, lose: Callable[[Path], None]) -> None:
    """A new one has signed nothing yet, and would sign a second transaction for each round."""
    Store(tmp_path).close()
    lose(tmp_path / FILE)
    for _ in range(2):
        with pytest.raises(GuardUnavailable, match=r"missing or empty, and a signer's record was kept here before"):
            Store(tmp_path)
    (tmp_path / "owner.lock").unlink()
    (tmp_path / FILE).unlink(missing_ok=True)
    Store(tmp_path).close()


def test_log_is_evidence_of_a_record_without_its_file(tmp_path: Path) -> None:
    """SQLite would remove it beside the empty file that it makes. A program before this one left no other mark."""
    (tmp_path / f"{FILE}-wal").write_bytes(b"what was committed last")
    with pytest.raises(GuardUnavailable, match="kept here before"):
        Store(tmp_path)
    assert (tmp_path / f"{FILE}-wal").read_bytes() == b"what was committed last"


def test_file_without_the_log_it_was_begun_in_is_not_begun_anew(tmp_path: Path) -> None:
    """Before the first checkpoint the tables themselves are in the log alone."""
    Store(tmp_path).close()
    _remove_all(tmp_path / FILE)
    connection = sqlite3.connect(tmp_path / FILE)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    with pytest.raises(GuardUnavailable, match="empty without its log"):
        Store(tmp_path)


@pytest.mark.parametrize("change", [Path.unlink, lambda file: file.replace(file.with_name("old"))])
def test_file_that_is_gone_while_in_use_stops_the_signer(tmp_path: Path, change: Callable[[Path], None]) -> None:
    """Commits into a file without a name succeed and are lost."""
    store = Store(tmp_path)
    change(tmp_path / FILE)
    with pytest.raises(GuardUnavailable), store.transaction():
        store.add_reply(ACCOUNT, "a.1", "x", b"{}", 1.0)
    store.close()


def test_directory_that_cannot_be_made_is_an_error_with_its_path(tmp_path: Path) -> None:
    """The operator mends the path."""
    (tmp_path / "file").touch()
    with pytest.raises(GuardUnavailable, match="file"):
        Store(tmp_path / "file" / "data")
