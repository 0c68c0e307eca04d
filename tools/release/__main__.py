"""Builds the release, judges it, runs it where only it is installed, and says in one last line what was checked.

The wheel comes from the sdist, so the sdist is whole. The demo runs from the installed wheel in an empty folder:
nothing of the source tree is in reach. What would be uploaded lies in dist/ then, with the bill of materials beside it.
"""

import sys
import tempfile
from pathlib import Path

from bridge import __version__
from bridge.broker.package import DIRECTORY_VARIABLE, default_directory
from tools.release.bill import make_bill, validate
from tools.release.parcel import DIST, ReleaseWrong, build, call, clean_environment, install, judge

WORDS = ("run", "signer", "simulate", "demo", "config", "topology", "command", "events", "version")


def main() -> int:
    try:
        wheel, sdist = build(__version__)
        files = judge(wheel, sdist)
        with tempfile.TemporaryDirectory(prefix="channel-bridge-release-") as folder:
            python = install(wheel, Path(folder, "environment"))
            bill = DIST / f"channel_bridge-{__version__}.cdx.json"
            packages = make_bill(python, bill, __version__)
            validate(bill)
            last = try_out(python, Path(folder))
    except ReleaseWrong as wrong:
        print(f"release-check: {wrong}", file=sys.stderr)
        return 1
    print(
        f"release-check: ok  {wheel.name} (from {sdist.name}), {files} files, twine check --strict"
        f"  installed with {packages} locked packages and no other: --help, version, {last.split('  ')[0]}"
        f"  {bill.name}: CycloneDX 1.6, valid, equal to the lock, no host named"
    )
    return 0


def try_out(python: Path, folder: Path) -> str:
    """As its user would, outside the source tree. The demo's last line."""
    program = python.with_name("channel-bridge")
    place = Path(call(python, "-c", "import bridge; print(bridge.__file__)", folder=folder).strip())
    if not place.is_relative_to(folder):
        raise ReleaseWrong(f"what runs is {place}, not what was installed")
    help_text = call(program, "--help", folder=folder)
    if missing := [word for word in WORDS if word not in help_text]:
        raise ReleaseWrong(f"--help does not know {', '.join(missing)}")
    if (told := call(program, "version", folder=folder).strip()) != __version__:
        raise ReleaseWrong(f"version says {told!r}")
    environment = clean_environment() | {DIRECTORY_VARIABLE: str(default_directory())}
    print("release-check: running the demo from the wheel", flush=True)
    last = call(program, "demo", folder=folder, environment=environment).strip().splitlines()[-1]
    if not last.startswith("demo: ok"):
        raise ReleaseWrong(f"the demo ended with: {last}")
    return last


if __name__ == "__main__":
    sys.exit(main())
