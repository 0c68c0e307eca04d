"""What can be seen without a network: the configuration's mistakes, the data directory, the disk, the clock."""

import os
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from bridge.app import config as configuration
from bridge.app.doctor.advice import Advice, Check, error, note, warning
from bridge.directory import LOCK
from bridge.errors import ConfigInvalid, Finding, JournalUnavailable, TlsRequired
from bridge.journal.journal import FILE
from bridge.journal.survey import survey

LEAST_FREE_BYTES, LOW_FREE_BYTES = 200 * 1024 * 1024, 2 * 1024 * 1024 * 1024
DEADLINES = ("sign_seconds", "acknowledge_seconds", "keep_alive_seconds")
FUTURE_SECONDS = 5.0


def mistakes(invalid: ConfigInvalid, file: str) -> Iterator[Advice]:
    """What is wrong with the configuration; nothing else can be looked at then."""
    for finding in invalid.findings:
        sentence = f"{finding.path} is {finding.found}"
        fix = f"in {file}: {finding.path} = {finding.expected}"
        if isinstance(invalid, TlsRequired) or type(finding) is not Finding:
            yield error(
                Check.PLAIN_TEXT, f"{sentence}: amounts and passwords would cross the network in plain text", fix
            )
        elif finding.path.rpartition(".")[2] in DEADLINES:
            late = "a signature could come when the channel waits no more, and the two sides would differ for ever"
            yield error(Check.DEADLINE_TOO_LONG, f"{sentence}: {late}", fix)
        elif "mode" in finding.found:
            yield error(
                Check.SECRET_EXPOSED, f"{sentence}: others on this machine can read it", f"chmod 600 it ({fix})"
            )
        else:
            yield error(Check.CONFIG_INVALID, sentence, fix)


def look(config: configuration.Config) -> Iterator[Advice]:
    for url in configuration.plain_connections(config):
        yield warning(
            Check.PLAIN_TEXT,
            f"{url} is spoken to without TLS because plain_hosts names its host",
            "write amqps://, wss:// or https:// and take the host out of plain_hosts",
        )
    directory = Path(config.data_dir)
    yield from _directory(directory)
    yield from _space(directory)
    yield from _clock(directory)


def _directory(directory: Path) -> Iterator[Advice]:
    if not directory.exists():
        parent = next(part for part in directory.absolute().parents if part.exists())
        if os.access(parent, os.W_OK | os.X_OK):
            yield note(Check.DATA_DIR, f"{directory} does not exist yet; the first start makes it")
        else:
            yield error(
                Check.DATA_DIR,
                f"{directory} does not exist and cannot be made by this user",
                f"install -d -m 700 -o $(id -un) {directory}",
            )
        return
    status = directory.stat()
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        yield error(Check.DATA_DIR, f"{directory} cannot be written by this user", f"chown $(id -un) {directory}")
    elif status.st_uid != os.geteuid():
        yield warning(
            Check.DATA_DIR, f"{directory} belongs to the user {status.st_uid}", f"chown -R $(id -un) {directory}"
        )
    elif stat.S_IMODE(status.st_mode) & 0o077 and (directory / FILE).exists():
        yield warning(
            Check.DATA_DIR,
            f"{directory} has mode {stat.S_IMODE(status.st_mode):04o}: others may look into it",
            f"chmod 700 {directory}",
        )
    for name in (FILE, LOCK):
        path = directory / name
        if path.exists() and os.access(directory, os.X_OK) and stat.S_IMODE(path.stat().st_mode) & 0o077:
            yield error(Check.SECRET_EXPOSED, f"{path} can be read by others", f"chmod 600 {path}")


def _space(directory: Path) -> Iterator[Advice]:
    place = directory if directory.exists() else next(part for part in directory.absolute().parents if part.exists())
    free = shutil.disk_usage(place).free
    if free >= LOW_FREE_BYTES:
        return
    say = error if free < LEAST_FREE_BYTES else warning
    yield say(
        Check.DISK_SPACE,
        f"{place} has {free // 1024**2} MB left; a full disk stops the bridge",
        "free space on that disk, or move data_dir as docs/operations.md says",
    )


def _clock(directory: Path) -> Iterator[Advice]:
    """Deadlines are absolute: a clock that is behind what was written lies about all of them."""
    file = directory / FILE
    if not file.exists():
        return
    try:
        with survey(file) as found:
            newest = found.newest_instant()
    except JournalUnavailable as unavailable:
        yield error(Check.DATA_DIR, str(unavailable), "channel-bridge journal verify; then docs/operations.md")
        return
    behind = newest - time.time()
    if behind > FUTURE_SECONDS:
        yield error(
            Check.CLOCK,
            f"this machine's clock is {behind:.0f} s behind the newest event in the journal",
            "timedatectl set-ntp true, and wait until it is synchronized",
        )
