"""`bridge.app.health`: ready is asked of each part at the moment of the question, and never remembered."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bridge.app.cli import app
from bridge.app.config import load, load_http, plain_connections
from bridge.app.health import Health, Stage, probe_url
from bridge.app.http import HttpServer, Site
from bridge.app.settings import Config, Http
from bridge.app.signersettings import SignerConfig
from bridge.errors import ConfigInvalid
from bridge.signing.secret import write_secret


@pytest.mark.parametrize(
    ("stage", "why", "status", "missing"),
    [
        (Stage.RUNNING, "", 200, {}),
        (Stage.RUNNING, "not open", 503, {"journal": "not open"}),
        (Stage.STARTING, "", 503, {"process": "starting"}),
        (Stage.STOPPING, "not open", 503, {"process": "stopping", "journal": "not open"}),
    ],
)
async def test_ready_names_what_is_missing(stage: Stage, why: str, status: int, missing: dict[str, str]) -> None:
    """An operator who reads "503" must not guess; a balancer must not send work to what starts or stops."""
    health = Health(lambda: stage, {"journal": lambda: why})
    answer = await health.readyz()
    assert (answer.status, json.loads(answer.body)["missing"]) == (status, missing)
    assert (await health.livez()).status == 200


@pytest.mark.parametrize(
    ("http", "url"),
    [
        (Http(), "http://127.0.0.1:8090"),
        (Http(host="0.0.0.0", port=1), "http://127.0.0.1:1"),
        (Http(host="::", port=1), "http://[::1]:1"),
        (Http(host="10.0.0.1", certificate_file=Path("c"), key_file=Path("k")), "https://10.0.0.1:8090"),
    ],
)
def test_probe_asks_where_the_process_listens(http: Http, url: str) -> None:
    """An address of all interfaces is none that can be asked."""
    assert probe_url(http) == url


def test_probe_reads_the_port_of_either_file_and_of_the_environment(tmp_path: Path) -> None:
    """A container's HEALTHCHECK has the process's environment, and may not read its secrets."""
    file = tmp_path / "bridge.toml"
    file.write_text('unknown = 1\n[http]\nport = 8123\n[broker]\nurl_file = "absent"\n')
    assert load_http(file, {}).port == 8123
    assert load_http(file, {"CHANNEL_BRIDGE_HTTP__PORT": "8124", "CHANNEL_BRIDGE_HTTP__HOST": "0.0.0.0"}).port == 8124
    assert load_http(None, {}).port == 8090


async def test_healthcheck_is_well_only_with_who_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exit code is all that a container runtime reads."""
    import asyncio

    async with HttpServer(Http(port=0), Site({"/livez": Health(lambda: Stage.STARTING, {}).livez})) as server:
        url = f"http://127.0.0.1:{server.port}"
        run = CliRunner().invoke
        assert (await asyncio.to_thread(run, app, ["healthcheck", "--url", url])).exit_code == 0
        assert (await asyncio.to_thread(run, app, ["healthcheck", "--url", f"{url}/readyz"])).exit_code == 1
        monkeypatch.setenv("CHANNEL_BRIDGE_HTTP__PORT", str(server.port))
        assert (await asyncio.to_thread(run, app, ["healthcheck"])).exit_code == 0
    assert CliRunner().invoke(app, ["healthcheck", "--url", url]).exit_code == 1


def test_plain_port_beyond_loopback_is_warned_of_and_shows_no_console() -> None:
    """guarantees.md 5.5: an explicit option, and told at each start."""
    assert Http().has_console
    assert not Http(host="0.0.0.0").has_console
    assert Http(host="0.0.0.0", console=True).has_console
    broker = {"url": "amqp://guest@127.0.0.1"}
    loopback = SignerConfig(keys=["k"], broker=broker)
    wide = Config(journal={"key_file": "k"}, broker=broker, http={"host": "0.0.0.0"})
    assert plain_connections(loopback) == ()
    assert plain_connections(wide) == ("http://0.0.0.0:8090",)


@pytest.mark.parametrize(
    ("table", "path"),
    [
        ({"token_file": "short"}, "http.token_file"),
        ({"token_file": "absent"}, "http.token_file"),
        ({"key_file": "short"}, "http"),
        ({"port": 70_000}, "http.port"),
    ],
)
def test_wrong_http_section_is_told_at_the_start(tmp_path: Path, table: dict[str, object], path: str) -> None:
    """A console that asks for no token because the file was misspelt is one that everybody reads."""
    write_secret(tmp_path / "short", "too-short")
    lines = [f"{name} = {json.dumps(value)}" for name, value in table.items()]
    file = tmp_path / "bridge.toml"
    file.write_text("\n".join(["[http]", *lines]))
    with pytest.raises(ConfigInvalid) as wrong:
        load(file, {})
    assert path in [finding.path for finding in wrong.value.findings]
