"""Builds the image, looks into it, runs it, and says in one last line what was checked.

Lints come first because they are quick: hadolint on the Dockerfile, Docker Compose's own reading of compose.yaml,
which refuses what it does not know, and compose-lint. The image is then judged by what it is, not by its Dockerfile.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from bridge import __version__
from tools.image.engine import ROOT, TAG, Container, Engine, ImageWrong, call, find, run
from tools.image.look import check_configuration, check_files
from tools.image.play import Play

PROGRAMS = ROOT / ".cache" / "tools" / "image" / "bin"
COMPOSE = ROOT / "docker" / "compose.yaml"
LINT_CONFIG = ROOT / "docker" / ".compose-lint.yml"
FACTS = """
import os, sys
with open("/proc/self/status") as file:
    status = dict(line.split(":", 1) for line in file)
print(os.getuid(), os.getgid(), len(os.getgroups()), os.statvfs("/").f_flag & os.ST_RDONLY)
print(status["NoNewPrivs"].strip(), status["CapEff"].strip().strip("0") or "none", os.access("/tmp", os.W_OK))
"""
EXPECTED = "10001 10001 0 1\n1 none True\n"
WRONG_CONFIG = 78


def main() -> int:
    engine: Engine | None = None
    try:
        lint()
        engine = find()
        print(f"image: building with {engine.name}", flush=True)
        engine.build({"VERSION": __version__, "REVISION": revision()})
        check_configuration(engine, __version__)
        files = check_files(engine.added())
        behaviour = check_running(engine)
        with tempfile.TemporaryDirectory(prefix="channel-bridge-image-") as folder:
            play = Play(engine, Path(folder))
            play.perform()
    except (ImageWrong, subprocess.TimeoutExpired) as wrong:
        print(f"image: {wrong}", file=sys.stderr)
        return 1
    finally:
        if engine is not None:
            engine.clear()
    print(
        f"image: ok  {TAG} {__version__} built with {engine.name}  lint: hadolint, docker-compose config, compose-lint"
        f"  configuration: user, labels, entry point, stop signal, health, no secret  {files} files added, no secret"
        f"  run: {behaviour}  composition: {', '.join(play.checked)}"
    )
    return 0


def lint() -> None:
    call(PROGRAMS / "hadolint", "docker/Dockerfile")
    call(PROGRAMS / "docker-compose", "--file", COMPOSE, "config", "--quiet")
    strict = ("--fail-on", "low", "--strict-config", "--config", LINT_CONFIG)
    call(PROGRAMS / "compose-lint", "check", "--quiet", *strict, COMPOSE)


def revision() -> str:
    """Of the checkout; an unpacked archive has none."""
    found = call("git", "rev-parse", "HEAD", check=False)
    return found.stdout.strip() if found.returncode == 0 else "unknown"


def check_running(engine: Engine) -> str:
    """As an orchestrator runs it: what it is, what it may, and how it refuses."""
    code, output = run(engine, Container(["channel-bridge", "version"]))
    if code != 0 or output.strip() != __version__:
        raise ImageWrong(f"version printed {output!r} and ended with {code}")
    code, output = run(engine, Container(["python", "-c", FACTS]))
    if code != 0 or output != EXPECTED:
        raise ImageWrong(f"user, groups, read-only root, privileges, capabilities, /tmp: {output!r}, not {EXPECTED!r}")
    code, output = run(engine, Container(["channel-bridge", "config", "check"]))
    if code != WRONG_CONFIG or "config_invalid" not in output:
        raise ImageWrong(f"without a configuration it ended with {code}: {output!r}")
    code, output = run(engine, Container(["python", "-c", "import pip"]))
    if code == 0 or "No module named 'pip'" not in output:
        raise ImageWrong(f"the environment that is shipped can install packages: {output!r}")
    return "version, non-root, read-only root, no capability, no new privileges, no pip, exit 78 without configuration"


if __name__ == "__main__":
    sys.exit(main())
