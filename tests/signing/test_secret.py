"""`bridge.signing.secret`: who may read a secret, and what an error may say about it."""

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bridge.errors import ConfigInvalid, Finding
from bridge.signing.secret import MAX_SECRET_BYTES, read_secret, write_secret

SERVICE = 10001
"""Some user who is not root."""


def _write(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


def _finding(path: Path) -> Finding:
    with pytest.raises(ConfigInvalid) as caught:
        read_secret(path)
    (finding,) = caught.value.findings
    assert finding.path == str(path)
    return finding


def test_secret_is_read_without_white_space_around_it(tmp_path: Path) -> None:
    """Editors and `echo` end files with a line break that belongs to no secret."""
    assert read_secret(_write(tmp_path / "secret", b" abc\n")) == "abc"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601, 0o644])
def test_file_open_to_others_is_refused_whatever_the_right(tmp_path: Path, mode: int) -> None:
    """Whoever else could read it may have done so; the owner must learn of it rather than find it mended."""
    finding = _finding(_write(tmp_path / "secret", b"abc", mode))
    assert finding.found == f"mode {mode:04o}"
    assert "0600" in finding.expected


def test_read_only_file_of_the_owner_is_accepted(tmp_path: Path) -> None:
    """Orchestrators mount secrets as 0400."""
    assert read_secret(_write(tmp_path / "secret", b"abc", 0o400)) == "abc"


@pytest.mark.parametrize(
    ("owner", "mode", "is_taken"),
    [
        (0, 0o440, True),
        (0, 0o640, True),
        (0, 0o444, False),
        (0, 0o660, False),
        (0, 0o450, False),
        (SERVICE, 0o440, False),
        (SERVICE, 0o400, True),
    ],
)
def test_file_of_root_may_be_read_by_the_group_it_is_given_to(
    open_folder: Path, owner: int, mode: int, is_taken: bool
) -> None:
    """Kubernetes mounts a secret as root's, readable by the pod's group: there is no other way to read it there."""
    path = _write(open_folder / "secret", b"abc", mode)
    os.chown(path, owner, SERVICE)
    with _as_service():
        if is_taken:
            assert read_secret(path) == "abc"
        else:
            assert _finding(path).found == f"mode {mode:04o}"


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A directory that another user may enter: those of pytest are for ours alone."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a file to somebody else and become him")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


@contextmanager
def _as_service() -> Iterator[None]:
    """This process with the rights of another user, as a container's process has them."""
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(SERVICE)
    os.seteuid(SERVICE)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def test_link_is_judged_by_the_file_behind_it(tmp_path: Path) -> None:
    """Orchestrators mount secrets as links, whose own mode says nothing."""
    link = tmp_path / "link"
    link.symlink_to(_write(tmp_path / "secret", b"abc", 0o644))
    assert _finding(link).found == "mode 0644"


def test_missing_file_is_named_with_its_reason(tmp_path: Path) -> None:
    """The operator wants to know which of several files it is."""
    assert _finding(tmp_path / "absent").found == "No such file or directory"


def test_pipe_is_refused_and_does_not_block(tmp_path: Path) -> None:
    """Opening a pipe nobody writes to would hang the start for ever."""
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert "regular file" in _finding(tmp_path / "pipe").found


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b" \n", "an empty file"),
        (b"\xff\x00", "bytes that are no text"),
        (b"a" * (MAX_SECRET_BYTES + 1), "65537 bytes"),
    ],
)
def test_content_that_can_be_no_secret_is_refused(tmp_path: Path, content: bytes, found: str) -> None:
    """The wrong file was named: say so at once, without showing what is in it."""
    assert _finding(_write(tmp_path / "secret", content)).found == found


def test_written_secret_is_readable_by_its_owner_only_and_never_overwritten(tmp_path: Path) -> None:
    """An overwritten key is lost money."""
    path = tmp_path / "secret"
    previous = os.umask(0)
    try:
        write_secret(path, "abc")
    finally:
        os.umask(previous)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        write_secret(path, "other")
    assert read_secret(path) == "abc"
