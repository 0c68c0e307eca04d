"""Files of TLS: which are taken, which are refused, and that no finding shows what is in them."""

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from bridge.app.tls import make_context
from bridge.errors import ConfigInvalid, Finding
from tests.authority import Authority

PASSWORD = "the-password-of-the-key"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def refused(make: Callable[[], object]) -> Finding:
    with pytest.raises(ConfigInvalid) as caught:
        make()
    (finding,) = caught.value.findings
    assert "PRIVATE KEY" not in str(finding)
    assert PASSWORD not in str(finding)
    return finding


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.touch(mode=mode)
    path.write_text(text)
    return path


def test_every_context_verifies_certificate_host_and_version(authority: Authority) -> None:
    """There is no option against it; the system's authorities are not trusted beside those that were named."""
    for context in (make_context(), make_context(authority.ca_file)):
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert make_context(authority.ca_file).cert_store_stats()["x509_ca"] == 1


def test_a_key_with_a_password_is_opened(authority: Authority) -> None:
    """The password stands in a file of its own: who copies one file has nothing."""
    pair = authority.issue("mine", "bridge", password=PASSWORD)
    make_context(authority.ca_file, pair.certificate, pair.key, write(authority.directory / "pw", PASSWORD))


@pytest.mark.parametrize("given", [None, "another-password"])
def test_a_wrong_or_missing_password_is_a_finding(authority: Authority, given: str | None) -> None:
    """And never a question on the terminal, at which a service would hang for ever."""
    pair = authority.issue("mine", "bridge", password=PASSWORD)
    path = None if given is None else write(authority.directory / "pw", given)
    finding = refused(lambda: make_context(None, pair.certificate, pair.key, path))
    assert finding.found == "no pair"
    assert "another-password" not in str(finding)


def test_a_key_that_others_can_read_is_refused(authority: Authority) -> None:
    """Whoever could read it may be the bridge from then on."""
    pair = authority.issue("mine", "bridge")
    pair.key.chmod(0o640)
    finding = refused(lambda: make_context(None, pair.certificate, pair.key))
    assert (finding.path, finding.found) == (str(pair.key), "mode 0640")


def test_a_password_file_that_others_can_read_is_refused(authority: Authority) -> None:
    pair = authority.issue("mine", "bridge", password=PASSWORD)
    path = write(authority.directory / "pw", PASSWORD)
    path.chmod(0o644)
    assert refused(lambda: make_context(None, pair.certificate, pair.key, path)).found == "mode 0644"


def test_a_certificate_and_the_key_of_another_are_no_pair(authority: Authority) -> None:
    one, other = authority.issue("one", "bridge"), authority.issue("other", "bridge")
    assert refused(lambda: make_context(None, one.certificate, other.key)).found == "no pair"


def test_half_a_pair_names_the_other_half(authority: Authority) -> None:
    """A forgotten line would else mean a bridge that shows no certificate, and a broker that says only no."""
    pair = authority.issue("mine", "bridge")
    assert refused(lambda: make_context(None, pair.certificate)).path == "key_file"
    assert refused(lambda: make_context(None, None, pair.key)).path == "certificate_file"


@pytest.mark.parametrize("text", ["", "nonsense", "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n"])
def test_authorities_that_are_none_are_refused(tmp_path: Path, text: str) -> None:
    """An empty list must not mean: the system's."""
    assert refused(lambda: make_context(write(tmp_path / "ca.pem", text))).expected == "certificates in PEM"


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    finding = refused(lambda: make_context(tmp_path / "ca.pem"))
    assert (finding.path, finding.found) == (str(tmp_path / "ca.pem"), "No such file or directory")
