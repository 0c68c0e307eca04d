"""What is shipped beside the program: image, composition and chart, as far as it shows without a network or an engine.

`make image` and `make chart` go further: they build, render, validate and run.
"""

import json
import os
import re
import runpy
import stat
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge import __version__
from bridge.app import config

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "helm" / "channel-bridge"
PARTS = ("broker", "bridge", "signer-initiator", "signer-responder", "people")
SERVICE, BROKER = 10001, 999


# --- one version ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["version", "appVersion"])
def test_the_chart_has_the_projects_version(name: str) -> None:
    """A chart installs the image of its own version unless told otherwise: another one would be pulled."""
    (found,) = re.findall(rf'^{name}: "?([^"\s]+)"?$', (CHART / "Chart.yaml").read_text(), re.MULTILINE)
    assert found == __version__


def test_the_chart_runs_the_user_whom_the_image_made() -> None:
    """Under another number the data directory of the image, and files made for it, belong to somebody else."""
    (user,) = re.findall(r"^USER (\d+:\d+)$", (ROOT / "docker" / "Dockerfile").read_text(), re.MULTILINE)
    values = (CHART / "values.yaml").read_text()
    numbers = dict(re.findall(r"^  (runAsUser|runAsGroup|fsGroup): (\d+)$", values, re.MULTILINE))
    assert user == f"{SERVICE}:{SERVICE}"
    assert numbers == {"runAsUser": str(SERVICE), "runAsGroup": str(SERVICE), "fsGroup": str(SERVICE)}


# --- what may enter the image ---------------------------------------------------------------------------------


def test_the_build_sees_what_it_copies_and_nothing_else() -> None:
    """A key or a journal that lies in the checkout must not be able to slip into a layer."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    let_in = {line.removeprefix("!") for line in patterns if line.startswith("!")}
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "docker" / "Dockerfile").read_text(), re.MULTILINE)
    assert patterns[0] == "*"
    assert let_in == {source for line in copies for source in line.split()}
    assert all((ROOT / source).exists() for source in let_in)


# --- the first start ------------------------------------------------------------------------------------------


@pytest.fixture
def first_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the volumes, after the composition's first start."""
    if os.geteuid() != 0:
        pytest.skip("only root can give files to the users of the parts, as in the container")
    before = os.umask(0o022)
    _start(tmp_path, monkeypatch)
    yield tmp_path
    os.umask(before)


def _start(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = ROOT / "docker" / "first_start.py"
    monkeypatch.setattr(sys, "argv", [str(script), str(folder), "--broker", "rabbitmq:5671", "--node", "node:3014"])
    with pytest.raises(SystemExit) as ending:
        runpy.run_path(str(script), run_name="__main__")
    assert ending.value.code == 0


def test_the_first_start_gives_each_part_its_own_files_and_no_other(first_start: Path) -> None:
    """A signer that can read the other's key, or a bridge that can read any, has no wall left."""
    names = {part: {file.name for file in (first_start / part).iterdir()} for part in PARTS}
    assert names == {
        "broker": {"ca.pem", "server.pem", "server.key", "definitions.json"},
        "bridge": {"ca.pem", "amqp_url", "config.toml", "journal.key"},
        "signer-initiator": {"ca.pem", "amqp_url", "config.toml", "key"},
        "signer-responder": {"ca.pem", "amqp_url", "config.toml", "key"},
        "people": {"ca.pem", "shop_url", "books_url", "operator_url", "accounts", "complete"},
    }
    for part in PARTS:
        for file in (first_start / part).iterdir():
            if file.name != "complete":
                assert file.stat().st_uid == (BROKER if part == "broker" else SERVICE), file
                assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_the_first_start_makes_configurations_the_program_takes(first_start: Path) -> None:
    """What the bridge and the signers refuse would show at the first `up` only."""
    bridge = config.load(first_start / "bridge" / "config.toml", {})
    assert bridge.broker_urls()[0].startswith("amqps://bridge:")
    assert config.plain_connections(bridge) == ("ws://node:3014/channel",)
    for role in ("initiator", "responder"):
        signer = config.load_signer(first_start / f"signer-{role}" / "config.toml", {})
        assert set(signer.policy) == {getattr(bridge.channels[0], role)}
        assert config.plain_connections(signer) == ()


def test_the_definitions_hold_every_user_and_no_password(first_start: Path) -> None:
    """The broker's volume is read by the broker, whose memory is not where our passwords belong."""
    text = (first_start / "broker" / "definitions.json").read_text()
    users = {user["name"]: user for user in json.loads(text)["users"]}
    assert set(users) == {"bridge", "signer-initiator", "signer-responder", "shop", "books", "operator"}
    urls = [file for part in PARTS for file in (first_start / part).glob("*_url")]
    assert len(urls) == len(users)
    for file in urls:
        password = file.read_text().partition("@")[0].rpartition(":")[2]
        assert len(password) == 64
        assert password not in text


def test_the_second_start_changes_nothing(first_start: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """New keys would be new accounts, and a new journal key a journal nobody can open."""
    files = [file for part in PARTS for file in (first_start / part).iterdir()]
    before = {file: (file.stat().st_ino, file.read_bytes()) for file in files}
    _start(first_start, monkeypatch)
    assert {file: (file.stat().st_ino, file.read_bytes()) for file in files} == before


def test_a_first_start_cut_short_is_made_again(first_start: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half the files of one try and half of another fit no lock."""
    (first_start / "people" / "complete").unlink()
    before = (first_start / "bridge" / "amqp_url").read_bytes()
    _start(first_start, monkeypatch)
    assert (first_start / "bridge" / "amqp_url").read_bytes() != before
    assert tomllib.loads((first_start / "bridge" / "config.toml").read_text())
