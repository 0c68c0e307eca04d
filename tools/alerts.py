"""`make alerts`: checks and tests the alert rules with Prometheus' own promtool.

Takes the promtool on PATH, else that of Debian's package `prometheus`, unpacked below `.cache/`, not installed:
needs apt and dpkg, no root. Standard library alone.
"""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RULES = ROOT / "helm" / "channel-bridge" / "files" / "alerts.yaml"
TESTS = ROOT / "tests" / "alerts" / "alerts.test.yaml"
CACHE = ROOT / ".cache" / "promtool"
UNPACKED = CACHE / "usr" / "bin" / "promtool"


def find_promtool() -> Path:
    """Fetches it where the machine has none. Raises CalledProcessError, or OSError without apt and dpkg."""
    if found := shutil.which("promtool"):
        return Path(found)
    if not UNPACKED.exists():
        print("alerts: taking promtool from the package prometheus", flush=True)
        (CACHE / "lists" / "partial").mkdir(parents=True, exist_ok=True)
        (CACHE / "apt" / "archives" / "partial").mkdir(parents=True, exist_ok=True)
        own = ["-o", f"Dir::State::lists={CACHE / 'lists'}", "-o", f"Dir::Cache={CACHE / 'apt'}"]
        run(["apt-get", "-qq", *own, "update"])
        run(["apt-get", "-qq", *own, "download", "prometheus"])
        run(["dpkg", "--extract", str(next(iter(CACHE.glob("prometheus_*.deb")))), str(CACHE)])
    return UNPACKED


def run(command: list[str]) -> None:
    subprocess.run(command, cwd=CACHE if CACHE.exists() else ROOT, check=True)  # noqa: S603  # no input in it


def main() -> int:
    try:
        promtool = str(find_promtool())
        run([promtool, "check", "rules", str(RULES)])
        run([promtool, "test", "rules", str(TESTS)])
    except (subprocess.CalledProcessError, OSError, StopIteration) as error:
        print(f"alerts: {error}; without apt install promtool yourself", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
