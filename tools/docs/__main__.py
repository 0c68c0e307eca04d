"""`python -m tools.docs`: the documents, checked; the bus contract as `build/asyncapi.html`. Exit code 0 if well.

Complaints come first, one a line; the last line says what was checked.
"""

import sys
from pathlib import Path

import yaml

from tools.docs import asyncapi, check

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "asyncapi.yaml"
PAGE = ROOT / "build" / "asyncapi.html"


def main() -> int:
    pages = check.pages(ROOT)
    complaints = [*check.broken_links(ROOT, pages), *check.broken_blocks(ROOT, pages)]
    try:
        tools = asyncapi.prepare()
    except asyncapi.Missing as missing:
        print(f"docs: {missing}", file=sys.stderr)
        return 1
    counted, wrong = asyncapi.validate(tools, DOCUMENT)
    complaints += [f"docs/asyncapi.yaml: {complaint}" for complaint in wrong]
    size = asyncapi.write_page(tools, yaml.safe_load(DOCUMENT.read_text(encoding="utf-8")), PAGE)
    for complaint in complaints:
        print(f"docs: {complaint}", file=sys.stderr)
    links, blocks = check.count_checked(pages)
    contract = ", ".join(f"{count} {word}" for word, count in counted.items() if word != "complaints")
    read = f"{len(pages)} pages, {links} links, {blocks} blocks of code"
    page = f"{PAGE.relative_to(ROOT)}: {size / 1e6:.1f} MB"
    print(f"docs: {'failed' if complaints else 'ok'}: {read}; asyncapi.yaml by the official parser: {contract}; {page}")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
