"""What is wrong in the documents: links that lead nowhere, and blocks of code that are not what they say they are."""

import json
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import yaml

from tools.docs.page import Block, Page, read

OUTSIDE = ("http://", "https://", "mailto:")


def pages(root: Path) -> list[Page]:
    """Everything a reader is sent to."""
    return [read(path) for path in sorted([*root.glob("*.md"), *(root / "docs").rglob("*.md")])]


def broken_links(root: Path, all_pages: Iterable[Page]) -> Iterator[str]:
    """Relative links to files that are not there, out of the project, or to headings no page has."""
    for page in all_pages:
        for target, line in page.links:
            if not target.startswith(OUTSIDE):
                complaint = _follow(root, page, unquote(target))
                if complaint:
                    yield f"{page.path.relative_to(root)}:{line}: {target}: {complaint}"


def _follow(root: Path, page: Page, target: str) -> str:
    place, _, anchor = target.partition("#")
    path = (page.path.parent / place).resolve() if place else page.path.resolve()
    if not path.is_relative_to(root.resolve()):
        return "leads out of the project"
    if not path.exists():
        return "no such file"
    if anchor and path.suffix == ".md" and anchor not in read(path).anchors:
        return "no such heading"
    return ""


def broken_blocks(root: Path, all_pages: Iterable[Page]) -> Iterator[str]:
    """Blocks marked as JSON, TOML, YAML or Python that cannot be read as such."""
    for page in all_pages:
        for block in page.blocks:
            complaint = _parse(block)
            if complaint:
                yield f"{page.path.relative_to(root)}:{block.line}: not {block.language}: {complaint}"


def _parse(block: Block) -> str:
    readers: dict[str, Any] = {
        "json": json.loads,
        "toml": tomllib.loads,
        "yaml": yaml.safe_load,
        "python": lambda text: compile(text, "<page>", "exec"),
    }
    reader = readers.get(block.language)
    try:
        if reader is not None:
            reader(block.text)
    except (ValueError, SyntaxError, yaml.YAMLError) as error:
        return str(error).splitlines()[0]
    return ""


def count_checked(all_pages: Iterable[Page]) -> tuple[int, int]:
    """Links inside the project, and blocks in a language that was read."""
    known = ("json", "toml", "yaml", "python")
    links = sum(not target.startswith(OUTSIDE) for page in all_pages for target, _ in page.links)
    return links, sum(block.language in known for page in all_pages for block in page.blocks)
