"""The documents lead somewhere and say what they are; what checks them finds what is wrong."""

import json
from pathlib import Path

import pytest

from tools.docs import check
from tools.docs.asyncapi import HERE, Missing, find_tool
from tools.docs.page import Page, anchor_of

ROOT = Path(__file__).resolve().parents[1]


def test_no_link_leads_nowhere() -> None:
    """Files and headings, in every page; nobody follows a link twice that failed once."""
    pages = check.pages(ROOT)
    assert len(pages) > 20
    assert list(check.broken_links(ROOT, pages)) == []


def test_every_block_is_what_it_says() -> None:
    """JSON, TOML, YAML and Python: a reader copies them."""
    assert list(check.broken_blocks(ROOT, check.pages(ROOT))) == []


def test_every_page_is_in_the_index() -> None:
    """A page nobody is sent to is not read."""
    index = {(ROOT / "docs" / target).resolve() for target, _ in Page(ROOT, (ROOT / "docs/index.md").read_text()).links}
    pages = {path.resolve() for path in (ROOT / "docs").glob("*.md")} - {(ROOT / "docs/index.md").resolve()}
    assert sorted(str(path) for path in pages - index) == []


@pytest.fixture
def somewhere(tmp_path: Path) -> Path:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "b.md").write_text("# The `bus` contract, v1\n\n## Twice\n\n## Twice\n")
    return tmp_path


@pytest.mark.parametrize(
    ("link", "complaint"),
    [
        ("docs/b.md", ""),
        ("docs/b.md#the-bus-contract-v1", ""),
        ("docs/b.md#twice-1", ""),
        ("#here", ""),
        ("https://example.com/x", ""),
        ("docs/c.md", "no such file"),
        ("docs/b.md#nowhere", "no such heading"),
        ("docs/b.md#twice-2", "no such heading"),
        ("../../etc/passwd", "leads out of the project"),
    ],
)
def test_link_is_followed(somewhere: Path, link: str, complaint: str) -> None:
    (somewhere / "README.md").write_text(
        f"# Here\n\nSee [it]({link}), and `[this](no)` is code.\n\n```\n[so](is this)\n```\n"
    )
    found = list(check.broken_links(somewhere, check.pages(somewhere)))
    assert found == ([f"README.md:3: {link}: {complaint}"] if complaint else [])


@pytest.mark.parametrize(
    ("language", "text", "is_well"),
    [
        ("json", '{"a": 1}', True),
        ("json", "{'a': 1}", False),
        ("toml", "a = 1", True),
        ("toml", "a = ", False),
        ("yaml", "a: [1", False),
        ("python", "def f(:", False),
        ("", "{'anything'", True),
    ],
)
def test_block_is_read(somewhere: Path, language: str, text: str, *, is_well: bool) -> None:
    (somewhere / "README.md").write_text(f"# Here\n\n```{language}\n{text}\n```\n")
    assert (not list(check.broken_blocks(somewhere, check.pages(somewhere)))) is is_well


def test_anchor_is_made_as_the_host_makes_it() -> None:
    assert anchor_of("`[limits]` in *your* file: 1.2") == "limits-in-your-file-12"


def test_lock_is_exact_and_names_no_host() -> None:
    """The registry is the machine's own business; every package is held by its hash."""
    lock = json.loads((HERE / "package-lock.json").read_text())
    wanted = json.loads((HERE / "package.json").read_text())["dependencies"]
    packages = {name.removeprefix("node_modules/"): entry for name, entry in lock["packages"].items() if name}
    assert {name: packages[name]["version"] for name in wanted} == wanted
    assert [name for name, entry in packages.items() if "resolved" in entry] == []
    assert [name for name, entry in packages.items() if not entry["integrity"].startswith("sha512-")] == []


def test_missing_tool_is_named_with_the_way_to_get_it() -> None:
    with pytest.raises(Missing, match=r"nodejs"):
        find_tool("no-such-program")
