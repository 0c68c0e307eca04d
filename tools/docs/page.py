"""Markdown as a reader sees it: headings with their anchors, links, and blocks of code with their language.

The few rules of CommonMark our pages use, and GitHub's way to make an anchor of a heading. Reads nothing from outside.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(
    r"^(?P<indent> *)(?P<fence>`{3,})(?P<language>[\w-]*)[^\n]*\n(?P<text>.*?)^(?P=indent)(?P=fence) *$",
    re.MULTILINE | re.DOTALL,
)
_HEADING = re.compile(r"^#{1,6} +(.+?) *#* *$", re.MULTILINE)
_LINK = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^()\s]+(?:\([^()\s]*\))?)\)")
_CODE = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)", re.DOTALL)
_INLINE_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")


@dataclass(frozen=True, slots=True)
class Block:
    language: str
    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Page:
    path: Path
    text: str

    @property
    def blocks(self) -> Iterator[Block]:
        for found in _FENCE.finditer(self.text):
            line = self.text.count("\n", 0, found.start()) + 1
            yield Block(found["language"], found["text"], line)

    @property
    def prose(self) -> str:
        """Without blocks of code, which are as long as before in lines."""
        return _FENCE.sub(lambda found: "\n" * found[0].count("\n"), self.text)

    @property
    def links(self) -> Iterator[tuple[str, int]]:
        """Target and line of each link outside of code."""
        prose = _CODE.sub(lambda found: "\n" * found[0].count("\n"), self.prose)
        for found in _LINK.finditer(prose):
            yield found[1], prose.count("\n", 0, found.start()) + 1

    @property
    def anchors(self) -> frozenset[str]:
        """A heading that comes twice gets a number."""
        made: list[str] = []
        for heading in _HEADING.findall(self.prose):
            anchor = anchor_of(heading)
            times = sum(one == anchor or re.fullmatch(rf"{re.escape(anchor)}-\d+", one) is not None for one in made)
            made.append(f"{anchor}-{times}" if times else anchor)
        return frozenset(made)


def anchor_of(heading: str) -> str:
    """Small letters, digits, `-` and `_`; spaces become `-`, all else goes."""
    text = _INLINE_LINK.sub(r"\1", heading).replace("`", "").replace("*", "").strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def read(path: Path) -> Page:
    return Page(path, path.read_text(encoding="utf-8"))
