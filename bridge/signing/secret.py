"""Reading and writing files that hold a secret: signing keys, the journal's key, passwords, broker URLs.

A secret file may be read by its owner only. One that its group or others can read is refused, not repaired:
whoever could read it may have done so. One exception, for how Kubernetes mounts secrets for a process that is not root:
a file of root's may be read by its group, through which alone we can read it (docs/adr/0021). Content never enters a
message; the path and the mode do.
"""

import os
import stat
from pathlib import Path

from bridge.errors import ConfigInvalid, Finding

MAX_SECRET_BYTES = 64 * 1024


def _refuse(path: Path, found: str, expected: str) -> ConfigInvalid:
    return ConfigInvalid((Finding(str(path), found, expected),))


def _forbidden_rights(owner: int, reader: int) -> int:
    """Bits of the mode that a secret file of `owner` must not have when `reader` reads it."""
    is_given_by_root = owner == 0 and reader != 0
    return 0o037 if is_given_by_root else 0o077


def _check_status(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise _refuse(path, "something that is no regular file", "a regular file of mode 0600")
    mode = stat.S_IMODE(status.st_mode)
    if mode & _forbidden_rights(status.st_uid, os.geteuid()):
        raise _refuse(path, f"mode {mode:04o}", "mode 0600: readable by its owner only (chmod 600)")
    if status.st_size > MAX_SECRET_BYTES:
        raise _refuse(path, f"{status.st_size} bytes", f"a secret of at most {MAX_SECRET_BYTES} bytes")


def read_secret(path: Path) -> str:
    """The file's text without white space around it. Raises `ConfigInvalid` with one finding.

    The opened file itself is judged, not its name, so nobody can swap it in between. A symbolic link is
    followed: orchestrators mount secrets as such.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise _refuse(path, error.strerror or "an unreadable file", "a readable file of mode 0600") from error
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor, not a path
        _check_status(path, os.fstat(descriptor))
        content = file.read()
    try:
        text = content.decode("ascii").strip()
    except UnicodeDecodeError:
        # Not chained: the cause would carry the bytes.
        raise _refuse(path, "bytes that are no text", "ASCII text") from None
    if not text:
        raise _refuse(path, "an empty file", "a secret")
    return text


def write_secret(path: Path, text: str) -> None:
    """Write a file of mode 0600, durably. One that is there already is left alone: raises `FileExistsError`."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with open(os.open(path, flags, 0o600), "w", encoding="ascii") as file:  # noqa: PTH123 - a descriptor
        # The umask can only take rights away; a directory's default rights (ACL) could add some.
        os.fchmod(file.fileno(), 0o600)
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
