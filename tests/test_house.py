"""The house as a whole: its floors hold, it names no machine, and its documents point at things that exist.

Reads the project's own files and nothing else. What `.gitignore` names is not the project's.
"""

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
LONGEST_MODULE = 500
"""Lines. Most of ours are far shorter; at this length a module is two things."""

# Both are written so that this file does not contain what it looks for.
MACHINE_PATH = re.compile(r"(?<![\w.~}-])/(?:work|farm|root|home|Users)[/](?=\w)")
REGISTRY_HOST = re.compile(
    r"(?:pypi|pythonhosted|npmjs|yarnpkg|crates|debian|ubuntu)[.](?:org|com|io)\b", re.IGNORECASE
)
TEST_LINK = re.compile(r"(?<!\w)(tests/[\w/]+\.py)::(\w+(?:::\w+)*)")
FILE_LINK = re.compile(r"\]\(([^)#\s:]+)(?:#[^)\s]*)?\)")


# --- what is ours ---------------------------------------------------------------------------------------


def is_ignored(name: str, patterns: list[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def project_files() -> Iterator[Path]:
    """Every file that is ours, committed or about to be. Works without git, as in an unpacked archive."""
    lines = (ROOT / ".gitignore").read_text().splitlines()
    patterns = [".git", *(line.rstrip("/") for line in lines if line and not line.startswith(("#", "!")))]
    for folder, names, files in os.walk(ROOT):
        names[:] = sorted(name for name in names if not is_ignored(name, patterns))
        yield from (Path(folder, name) for name in sorted(files) if not is_ignored(name, patterns))


def project_texts() -> Iterator[tuple[str, str]]:
    """Path below the root and content of every file that is text."""
    for path in project_files():
        try:
            yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def modules() -> Mapping[str, str]:
    return {path: text for path, text in project_texts() if path.endswith(".py")}


def documents() -> Mapping[str, str]:
    return {path: text for path, text in project_texts() if path.endswith(".md")}


# --- the floors -----------------------------------------------------------------------------------------


def test_the_floors_hold() -> None:
    """A room that imports another, or a pure one that imports a wall, cannot be tested or replaced alone."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"]
    ending = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ending.returncode == 0, ending.stdout + ending.stderr


def test_each_module_says_what_it_is_for() -> None:
    """A reader who opens any file learns from its first lines what it is for and what it must never do."""
    silent = [path for path, text in modules().items() if text and not ast.get_docstring(ast.parse(text))]
    silent += [path for path, text in modules().items() if not text and not path.startswith("tests/")]
    assert silent == []


def test_no_module_is_two_things() -> None:
    """Nobody reads a thousand lines before changing one."""
    lengths = {path: text.count("\n") for path, text in modules().items() if path.startswith("bridge/")}
    assert lengths
    assert {path: length for path, length in lengths.items() if length > LONGEST_MODULE} == {}


# --- the project stands alone ---------------------------------------------------------------------------


def machine_traces(text: str) -> list[str]:
    return [found.group() for pattern in (MACHINE_PATH, REGISTRY_HOST) for found in pattern.finditer(text)]


def test_no_file_names_a_machine_or_a_registry() -> None:
    """A path or a host of one machine works on that machine only; package clients know their registry."""
    traces = {path: machine_traces(text) for path, text in project_texts()}
    assert len(traces) > 50
    assert {path: found for path, found in traces.items() if found} == {}


@pytest.mark.parametrize(
    "text",
    [
        "see /" + "work/" + "main/bridge",
        'open("/' + 'home/alice/key")',
        "--index-url https://pypi" + ".org/simple",
        "deb http://deb.debian" + ".org/debian bookworm main",
    ],
)
def test_a_machines_trace_is_recognised(text: str) -> None:
    """The search above is worth nothing if its patterns match nothing."""
    assert machine_traces(text)


@pytest.mark.parametrize(
    "text", ["~/" + "work/x", "docs/" + "work/plan.md", "/var/lib/bridge", "${HOME}/home/x", "a/home/b"]
)
def test_an_ordinary_path_is_no_trace(text: str) -> None:
    """A search that shouts at everything is switched off by the first person it annoys."""
    assert machine_traces(text) == []


# --- the locks ------------------------------------------------------------------------------------------


def locked(name: str) -> Mapping[str, Requirement]:
    """Each pinned package of a lock. Every one of them must bring at least one hash."""
    entries = re.split(r"^(?=[a-z0-9])", (ROOT / name).read_text(), flags=re.MULTILINE)
    pins: dict[str, Requirement] = {}
    for entry in filter(None, entries):
        requirement = Requirement(entry.partition(" \\\n")[0])
        assert "--hash=sha256:" in entry, f"{name}: {requirement.name} has no hash"
        pins[canonicalize_name(requirement.name)] = requirement
    return pins


def version(pin: Requirement) -> str:
    [specifier] = pin.specifier
    assert specifier.operator == "=="
    return specifier.version


GROUPS = ("build", "chart", "fuzz", "image", "release")
"""What is installed beside the project, each group by a lock of its own."""


@pytest.mark.parametrize(
    "name", ["requirements.lock", "requirements-dev.lock", *(f"requirements-{group}.lock" for group in GROUPS)]
)
def test_the_lock_holds_what_the_project_asks_for(name: str) -> None:
    """A dependency changed without `make lock` would be tested in one version and installed in another."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [Requirement(text) for text in declared["project"]["dependencies"]]
    for group in GROUPS:
        if name == f"requirements-{group}.lock":
            wanted = [Requirement(text) for text in declared["dependency-groups"][group]]
    if name == "requirements-dev.lock":
        wanted += [Requirement(text) for text in declared["dependency-groups"]["dev"]]
        wanted += [Requirement(text) for text in declared["build-system"]["requires"]]
    pins = locked(name)
    missing = [str(want) for want in wanted if canonicalize_name(want.name) not in pins]
    assert missing == []
    outside = [str(want) for want in wanted if version(pins[canonicalize_name(want.name)]) not in want.specifier]
    assert outside == []


def test_both_locks_agree() -> None:
    """What runs in production is what the tests ran with."""
    run_time, development = locked("requirements.lock"), locked("requirements-dev.lock")
    assert run_time
    differing = [name for name, pin in run_time.items() if str(development.get(name)) != str(pin)]
    assert differing == []


# --- the documents --------------------------------------------------------------------------------------


def names_of_tests(text: str) -> set[str]:
    """Names of the test functions of a module, `Class::name` for those in a class."""
    found = set()
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{name}" for name in functions_in(node)}
    return found | functions_in(ast.parse(text))


def functions_in(node: ast.Module | ast.ClassDef) -> set[str]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {child.name for child in node.body if isinstance(child, kinds) and child.name.startswith("test_")}


def broken_test_links(text: str) -> list[str]:
    sources = modules()
    return [
        f"{path}::{name}"
        for path, name in TEST_LINK.findall(text)
        if path not in sources or name not in names_of_tests(sources[path])
    ]


def table_rows(text: str) -> list[str]:
    """The rows of every Markdown table, without its heading."""
    rows: list[str] = []
    is_body = False
    for line in text.splitlines():
        if not line.startswith("|"):
            is_body = False
        elif is_body:
            rows.append(line)
        else:
            is_body = bool(re.fullmatch(r"\|[\s|:-]+\|", line.strip()))
    return rows


def test_each_test_named_in_a_document_exists() -> None:
    """A document that names a test is a promise that somebody can run it."""
    broken = {path: broken_test_links(text) for path, text in documents().items()}
    assert {path: links for path, links in broken.items() if links} == {}


def test_each_row_of_the_coverage_table_names_a_test() -> None:
    """A row of the coverage table without a test claims what nobody checked."""
    unproven = {
        path: [row for row in table_rows(text) if not TEST_LINK.search(row)]
        for path, text in documents().items()
        if path == "docs/coverage.md"
    }
    assert {path: rows for path, rows in unproven.items() if rows} == {}


def test_a_missing_test_is_noticed() -> None:
    """The two checks above find a wrong name, a wrong file and an empty row."""
    here = "tests/" + Path(__file__).name
    right, wrong = f"{here}::test_a_missing_test_is_noticed", f"{here}::test_nobody_wrote"
    elsewhere = "tests/nowhere/test_nothing.py::test_x"
    assert broken_test_links(f"`{right}` and `{wrong}`, [more]({elsewhere})") == [wrong, elsewhere]
    assert table_rows(f"| a | b |\n| --- | --- |\n| 1 | {right} |\n| 2 | |\n\ntext\n") == [
        f"| 1 | {right} |",
        "| 2 | |",
    ]


def test_each_link_between_documents_leads_somewhere() -> None:
    """A reader follows a link once; if it is dead, he does not follow the next one."""
    links = [(path, link) for path, text in documents().items() for link in FILE_LINK.findall(text)]
    assert links
    assert [(path, link) for path, link in links if not (ROOT / path).parent.joinpath(link).exists()] == []
