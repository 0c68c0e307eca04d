"""Loads, lints and renders the chart with Helm's own engine, and reads what comes out."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import helm_python
import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
CHART = ROOT / "helm" / "channel-bridge"
RELEASE, NAMESPACE = "pay", "money"
HARMLESS = ("icon is recommended",)

Object = Mapping[str, Any]


class ChartWrong(Exception):
    """Says what is not as it should be, and where."""


def lint() -> None:
    told = [message["error"] for message in helm_python.lint(str(CHART))["messages"]]
    wrong = [error for error in told if error not in HARMLESS]
    if wrong:
        raise ChartWrong(f"lint: {'; '.join(wrong)}")


def examples() -> Mapping[str, Mapping[str, Any]]:
    """The values in ci/, by the file's first word."""
    found = {file.stem.removesuffix("-values"): read(file) for file in sorted((CHART / "ci").glob("*-values.yaml"))}
    if not found:
        raise ChartWrong("ci/ holds no values")
    return found


def read(file: Path) -> Mapping[str, Any]:
    values: Mapping[str, Any] = yaml.safe_load(file.read_text())
    return values


def render(values: Mapping[str, Any]) -> list[Object]:
    """Every object of a release. Raises the engine's `HelmError` with its own words if it refuses."""
    with helm_python.Chart.load(str(CHART)) as chart:
        chart.validate_schema(dict(values))
        texts = chart.render(dict(values), name=RELEASE, namespace=NAMESPACE)
    return [item for name, text in texts.items() if not name.endswith(".txt") for item in _objects(text)]


def _objects(text: str) -> Iterator[Object]:
    yield from (item for item in yaml.safe_load_all(text) if item)


def of_kind(objects: list[Object], *kinds: str) -> list[Object]:
    return [item for item in objects if item["kind"] in kinds]


def pod_of(item: Object) -> Mapping[str, Any]:
    pod: Mapping[str, Any] = item["spec"]["template"]["spec"]
    return pod
