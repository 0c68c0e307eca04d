"""Lints, renders and judges the chart, and says in one last line what was checked.

Runs in the environment of `requirements-chart.lock`, with Helm's engine and the schemas of many Kubernetes versions;
the models of the Prometheus operator and the generator of the chart's README come from the package lock beside this
file. `--write` writes the README anew; without it the README must be what the generator makes of values.yaml.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from hashlib import sha256
from pathlib import Path

import helm_python
import kubernetes_validate

from tools.chart.invariant import RULES, find_breaches
from tools.chart.refusal import check_refusals
from tools.chart.render import CHART, ROOT, ChartWrong, Object, examples, lint, of_kind, pod_of, render

PLACE = ROOT / ".cache" / "tools" / "chart-npm"
LOCKED = ("package.json", "package-lock.json")
VERSIONS = ("1.25", "1.27", "1.29", "1.31", "1.33", "1.35", "1.37")
CUSTOM = "monitoring.coreos.com/"
PROGRAM_PYTHON = ROOT / ".venv" / "bin" / "python"


def main() -> int:
    try:
        take_node_tools()
        told = write_readme() if "--write" in sys.argv else check()
    except ChartWrong as wrong:
        print(f"chart: {wrong}", file=sys.stderr)
        return 1
    print(f"chart: {told}")
    return 0


def check() -> str:
    lint()
    releases = {name: render(values) for name, values in examples().items()}
    for name, objects in releases.items():
        if breaches := find_breaches(objects):
            raise ChartWrong(f"{name}: {'; '.join(breaches)}")
    judged = sum(judge(objects) for objects in releases.values())
    custom = judge_custom([item for objects in releases.values() for item in objects])
    accepted = sum(accept(name, objects) for name, objects in releases.items())
    refused = check_refusals(examples()["minimal"])
    compare_readme()
    with tempfile.TemporaryDirectory() as folder:
        package = Path(helm_python.package(str(CHART), destination=folder)).name
    count = sum(map(len, releases.values()))
    return (
        f"ok  Helm {helm_python.helm_sdk_version()}: lint, {package}, {len(releases)} sets of values, {count} objects"
        f"  Kubernetes {', '.join(VERSIONS)}: {judged} strict validations, {custom} of the operator's kinds"
        f"  {len(RULES)} invariants on each  {accepted} configurations taken by the program itself"
        f"  {refused} mistakes refused  README as generated"
    )


# --- schemas --------------------------------------------------------------------------------------------------


def judge(objects: list[Object]) -> int:
    """Against each version, unknown fields refused."""
    plain = [item for item in objects if not item["apiVersion"].startswith(CUSTOM)]
    for version in VERSIONS:
        for item in plain:
            try:
                kubernetes_validate.validate(dict(item), version, strict=True)
            except kubernetes_validate.ValidationError as error:
                place = ".".join(str(part) for part in error.path)
                raise ChartWrong(
                    f"{item['kind']} {item['metadata']['name']} for {version}: {place}: {error.message}"
                ) from error
    return len(plain) * len(VERSIONS)


def judge_custom(objects: list[Object]) -> int:
    custom = [item for item in objects if item["apiVersion"].startswith(CUSTOM)]
    if not custom:
        raise ChartWrong("no example renders an object of the Prometheus operator's")
    return int(node("custom.mjs", given=json.dumps(custom)))


# --- the program's own word -----------------------------------------------------------------------------------


def accept(name: str, objects: list[Object]) -> int:
    """Every rendered configuration is read by the program, with the variables of its container."""
    texts = {item["metadata"]["name"]: item["data"].get("config.toml") for item in of_kind(objects, "ConfigMap")}
    workloads = of_kind(objects, "StatefulSet", "Job")
    for item in workloads:
        (container,) = pod_of(item)["containers"]
        asked = {
            "program": container["args"][0],
            "toml": texts[item["metadata"]["name"]],
            "environment": {variable["name"]: variable["value"] for variable in container["env"]},
        }
        script = Path(__file__).with_name("accept.py")
        ending = subprocess.run(  # noqa: S603  # our own program
            [PROGRAM_PYTHON, script],
            input=json.dumps(asked),
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        if ending.returncode != 0:
            raise ChartWrong(
                f"{name}: {item['metadata']['name']}: {ending.stdout.strip()}{ending.stderr.strip()[-900:]}"
            )
    return len(workloads)


# --- the README -----------------------------------------------------------------------------------------------


def write_readme() -> str:
    (CHART / "README.md").write_text(generated())
    return "wrote README.md"


def compare_readme() -> None:
    if (CHART / "README.md").read_text() != generated():
        raise ChartWrong("README.md is not what values.yaml makes of it: make chart ARGS=--write")


def generated() -> str:
    """The README with its tables made anew. The generator itself refuses a value without a description."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "README.md")
        copy.write_text((CHART / "README.md").read_text())
        node("node_modules/.bin/readme-generator", "--values", str(CHART / "values.yaml"), "--readme", str(copy))
        return copy.read_text()


# --- what comes from npm --------------------------------------------------------------------------------------


def take_node_tools() -> None:
    """Every package by its hash, below .cache; nothing is run while it is installed."""
    need_npm()
    source = Path(__file__).parent
    wanted = sha256(b"".join((source / name).read_bytes() for name in LOCKED)).hexdigest()
    stamp = PLACE / "stamp"
    if not stamp.exists() or stamp.read_text() != wanted:
        PLACE.mkdir(parents=True, exist_ok=True)
        for name in LOCKED:
            shutil.copy(source / name, PLACE / name)
        run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"])
        stamp.write_text(wanted)
    shutil.copy(source / "custom.mjs", PLACE / "custom.mjs")


def need_npm() -> None:
    if shutil.which("npm") is not None:
        return
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise ChartWrong("npm is needed: install Node.js 18 or later with npm")
    print("chart: installing nodejs, npm", flush=True)
    run(["apt-get", "-qq", "update"])
    run(
        ["apt-get", "-qq", "-y", "-o", "DPkg::Lock::Timeout=600", "install", "--no-install-recommends", "nodejs", "npm"]
    )


def node(*words: str, given: str = "") -> str:
    return run(["node", *words], given=given)


def run(words: list[str], given: str = "") -> str:
    PLACE.mkdir(parents=True, exist_ok=True)
    ending = subprocess.run(words, cwd=PLACE, input=given, capture_output=True, text=True, check=False)  # noqa: S603
    if ending.returncode != 0:
        said = (ending.stdout + ending.stderr).strip()[-1500:]
        raise ChartWrong(f"{' '.join(words[:2])} ended with {ending.returncode}: {said}")
    return ending.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
