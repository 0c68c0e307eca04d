"""Passwords and certificates read again while the process runs: all of it, or nothing."""

import logging
import ssl
from pathlib import Path

import pytest

from bridge.app.access import Access
from bridge.app.settings import Broker, Http, Node, Tls
from tests.authority import Authority

OLD, NEW = "amqp://bridge:old-password@localhost/", "amqp://bridge:new-password@localhost/"


class Ear:
    """Takes what a bus would."""

    def __init__(self) -> None:
        self.heard: list[tuple[list[str], ssl.SSLContext]] = []

    def renew(self, urls: list[str], context: ssl.SSLContext) -> None:
        self.heard.append((urls, context))


@pytest.fixture
def url_file(tmp_path: Path) -> Path:
    path = tmp_path / "url"
    path.touch(mode=0o600)
    path.write_text(OLD)
    return path


def test_a_changed_password_is_handed_on(url_file: Path) -> None:
    """Passwords are rotated; a bridge is not restarted for that."""
    access, ear = Access(Broker(url_file=url_file)), Ear()
    url_file.write_text(NEW)
    assert access.broker_urls == [OLD]
    assert access.reload(ear.renew)
    assert [urls for urls, _ in ear.heard] == [[NEW]]
    assert access.broker_urls == [NEW]


def test_a_renewed_certificate_is_read(tmp_path: Path, url_file: Path) -> None:
    """Certificates end every few months: broker's and nodes' alike."""
    authority = Authority(tmp_path)
    pair = authority.issue("mine", "bridge")
    tls = Tls(ca_file=authority.ca_file, certificate_file=pair.certificate, key_file=pair.key)
    node = Node(url="wss://node.example/channel", tls=tls)
    access, ear = Access(Broker(url_file=url_file, tls=tls), {"main": node}), Ear()
    before = access.broker_context, access.node_context(node)
    authority.issue("mine", "bridge")
    assert access.reload(ear.renew)
    assert access.node_context(node) is not before[1]
    assert ear.heard[0][1] is access.broker_context
    assert access.broker_context is not before[0]


@pytest.mark.parametrize(
    ("text", "mode"),
    [("", 0o600), (NEW, 0o644), ("http://bridge:new-password@localhost", 0o600), ("amqp://far.example/", 0o600)],
)
def test_what_is_wrong_leaves_in_force_what_was(
    url_file: Path, caplog: pytest.LogCaptureFixture, text: str, mode: int
) -> None:
    """A half-written file must not take a running bridge off the broker; the log says what is wrong, and no secret."""
    access, ear = Access(Broker(url_file=url_file)), Ear()
    url_file.write_text(text)
    url_file.chmod(mode)
    with caplog.at_level(logging.INFO):
        assert not access.reload(ear.renew)
    assert ear.heard == []
    assert access.broker_urls == [OLD]
    (record,) = caplog.records
    assert (record.getMessage(), vars(record)["path"]) == ("secrets_not_reloaded", "broker.url_file")
    assert "password" not in str(vars(record))


def test_one_bad_certificate_holds_the_password_back_too(tmp_path: Path, url_file: Path) -> None:
    """All or nothing: else nobody knows what is in force."""
    authority = Authority(tmp_path)
    node = Node(url="wss://node.example/channel", tls=Tls(ca_file=authority.ca_file))
    access, ear = Access(Broker(url_file=url_file), {"main": node}), Ear()
    url_file.write_text(NEW)
    authority.ca_file.write_text("nonsense")
    assert not access.reload(ear.renew)
    assert access.broker_urls == [OLD]


def test_the_http_ports_secrets_are_judged_with_the_rest(tmp_path: Path, url_file: Path) -> None:
    """A token that is too short holds everything back; then the port reads its own."""
    token = tmp_path / "token"
    token.touch(mode=0o600)
    token.write_text("a-token-of-some-length")
    access, ear = Access(Broker(url_file=url_file), http=Http(token_file=token)), Ear()
    told: list[str] = []
    url_file.write_text(NEW)
    token.write_text("short")
    assert not access.reload(ear.renew, lambda: told.append("port"))
    assert (access.broker_urls, told) == ([OLD], [])
    token.write_text("another-token-of-some-length")
    assert access.reload(ear.renew, lambda: told.append("port"))
    assert (access.broker_urls, told) == ([NEW], ["port"])


def test_its_repr_shows_no_password(url_file: Path) -> None:
    access = Access(Broker(url_file=url_file))
    assert "old-password" not in repr(access) + repr(access._in_force)
