"""What the SDK run stands on: a lock that names no host, a node new enough, and complaints that are not lost."""

import json
from pathlib import Path

import pytest

from tests.faults.sdk.__main__ import HERE, Missing, check_flows, check_node, find_tool, tell


def test_the_lock_is_exact_and_names_no_host() -> None:
    """The registry is the machine's own business; every package is held by its hash."""
    lock = json.loads((HERE / "package-lock.json").read_text())
    wanted = json.loads((HERE / "package.json").read_text())["dependencies"]["@aeternity/aepp-sdk"]
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert packages["node_modules/@aeternity/aepp-sdk"]["version"] == wanted
    assert [name for name, entry in packages.items() if "resolved" in entry] == []
    assert [name for name, entry in packages.items() if not entry["integrity"].startswith("sha512-")] == []


@pytest.mark.parametrize(("said", "is_enough"), [("v18.19.0", True), ("v20.20.2", True), ("v18.18.9", False)])
def test_an_old_node_is_named_before_anything_is_installed(tmp_path: Path, said: str, *, is_enough: bool) -> None:
    """Else the SDK fails in the middle with a syntax error of its own."""
    node = tmp_path / "node"
    node.write_text(f"#!/bin/sh\necho {said}\n")
    node.chmod(0o755)
    if is_enough:
        assert check_node(str(node)) == said
    else:
        with pytest.raises(Missing, match=r"18\.19"):
            check_node(str(node))


def test_a_missing_tool_is_named() -> None:
    """Clearly, with what to install."""
    with pytest.raises(Missing, match=r"Node\.js"):
        find_tool("no-such-program")


STORY = {
    "open_ms": 812.4,
    "payments": 100,
    "payments_per_second": 57.6,
    "refused": 2,
    "messages": 2,
    "deposit": 1_000_000,
    "withdraw": 400_000,
    "reconnected": 1,
    "reestablished": 1,
    "closed_at": 108,
}


def test_the_last_line_tells_every_flow() -> None:
    """Whoever runs all faults sees that line only."""
    line = tell(STORY, "v20.20.2", "14.1.1", 0)
    assert "\n" not in line
    assert line.startswith("sdk: passed, aepp-sdk 14.1.1 on node v20.20.2: opened in 812 ms, paid 100, ")
    for told in ("refused 2", "talked 2", "deposited 1000000", "withdrew 400000", "closed at round 108"):
        assert told in line


def test_a_flow_that_was_left_out_is_told_and_fails() -> None:
    """A driver that skips the close would else pass: nothing complains of what it never did."""
    story = {name: value for name, value in STORY.items() if name != "closed_at"}
    assert check_flows(STORY) == []
    assert check_flows(story) == ["it has not closed at round"]
    assert tell(story, "v20.20.2", "14.1.1", 1).endswith("; not closed at round")
