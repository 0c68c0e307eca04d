"""`bridge.app.keyring`: the keys a signer's file names, what is wrong with them, and what is for development only."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from nacl.pwhash import argon2id
from typer.testing import CliRunner

from bridge.app.cli import app
from bridge.app.config import load_signer, masked, plain_connections
from bridge.app.keyring import has_clear_keys, is_development, open_ring
from bridge.app.signer import assemble
from bridge.errors import ConfigInvalid, Finding, KeyUnavailable, TlsRequired
from bridge.signing import sealed
from bridge.signing.guard import Guard
from bridge.signing.key import generate, look_at
from bridge.signing.secret import write_secret
from tests.authority import HOST, Authority
from tests.signing import vault
from tests.signing.given import OWN, OWN_KEY, PEER
from tests.toml import to_toml

PASSWORD = "correct horse"
COMMAND = {"account": OWN, "argv": ["/usr/local/bin/sign"]}


def transit(directory: Path, **changes: Any) -> dict[str, Any]:
    if not (directory / "token").exists():
        write_secret(directory / "token", "s.token")
    return {"account": OWN, "url": "https://vault.example:8200", "key": "acme", "token_file": "token"} | changes


def encrypted(directory: Path) -> None:
    """With the least work, so that the tests do not take seconds each."""
    passes, memory = argon2id.OPSLIMIT_MIN, argon2id.MEMLIMIT_MIN
    write_secret(directory / "sealed", sealed.seal(bytes(OWN_KEY), OWN, PASSWORD, passes, memory))
    write_secret(directory / "password", PASSWORD)


def file(directory: Path, keys: Any, networks: tuple[str, ...] = ("ae_uat",), account: str = OWN, **more: Any) -> Path:
    policy = {account: {"tags": ["update"], "networks": list(networks)}}
    whole = {"keys": keys, "broker": {"url": "amqp://localhost"}, "policy": policy} | more
    path = directory / "signer.toml"
    path.write_text("\n".join(f"{name} = {to_toml(table)}" for name, table in whole.items()))
    return path


def findings(path: Path) -> dict[str, Finding]:
    with pytest.raises(ConfigInvalid) as caught:
        load_signer(path, {})
    return {finding.path: finding for finding in caught.value.findings}


async def test_keys_of_every_kind_make_one_ring(tmp_path: Path) -> None:
    """One signer may serve accounts whose keys are in different places."""
    encrypted(tmp_path)
    clear = generate(tmp_path / "clear")
    keys = {
        "files": ["clear", "sealed"],
        "password_file": "password",
        "commands": [COMMAND | {"account": PEER}],
        "transit": [transit(tmp_path, account="ak_2U5uowyre6aqU1gz3Pkd1VtMkBVc2rquvr3oPWynbPNYozaLhv")],
    }
    ring = open_ring(load_signer(file(tmp_path, keys), {}))
    async with ring.closing:
        assert {OWN, PEER, clear} < set(ring.keys)
        assert len(ring.keys) == 4
        assert "horse" not in repr(ring)
        assert await ring.keys[OWN].sign(b"text") == OWN_KEY.sign(b"text").signature


async def test_certificates_of_a_key_service_are_read_again(tmp_path: Path) -> None:
    """With all other secrets, on the signal: a wrong one leaves in force what was, for all of them."""
    authority = Authority(tmp_path)
    (tmp_path / "older").mkdir()
    older = Authority(tmp_path / "older")
    trusted = tmp_path / "trusted.pem"
    shutil.copyfile(older.ca_file, trusted)
    with vault.serve(OWN_KEY, context=authority.server(authority.issue("vault", HOST))) as served:
        write_secret(tmp_path / "token", vault.TOKEN)
        key = transit(tmp_path, url=served.url, tls={"ca_file": "trusted.pem"})
        config = load_signer(file(tmp_path, {"transit": [key]}), {})
        ring = open_ring(config)
        async with ring.closing:
            with Guard(tmp_path / "guard") as guard:
                service = assemble(config, ring, guard)
                server = service.monitor.server(config.http)
                with pytest.raises(KeyUnavailable, match="nobody we trust"):
                    await ring.keys[OWN].sign(b"text")
                trusted.write_text("nonsense")
                assert not service.reload(server)
                shutil.copyfile(authority.ca_file, trusted)
                assert service.reload(server)
                assert await ring.keys[OWN].sign(b"text") == OWN_KEY.sign(b"text").signature


def test_list_of_paths_stands_for_the_files(tmp_path: Path) -> None:
    """As it was written before there was anything else."""
    account = generate(tmp_path / "clear")
    assert load_signer(file(tmp_path, ["clear"], account=account), {}).keys.files == (tmp_path / "clear",)


@pytest.mark.parametrize(
    ("kind", "said", "expected"),
    [
        ("clear", None, True),
        ("sealed", None, False),
        ("command", None, False),
        ("clear", False, False),
        ("sealed", True, True),
    ],
)
def test_signer_is_for_development_when_a_key_lies_in_the_clear_or_its_owner_says_so(
    tmp_path: Path, kind: str, said: bool | None, expected: bool
) -> None:
    """And it is told at the start, not at the first payment, that it will not sign for the main network."""
    encrypted(tmp_path)
    write_secret(tmp_path / "clear", bytes(OWN_KEY).hex())
    kinds: dict[str, Any] = {
        "clear": {"files": ["clear"]},
        "sealed": {"files": ["sealed"], "password_file": "password"},
        "command": {"commands": [COMMAND]},
    }
    more: dict[str, Any] = {} if said is None else {"development": said}
    config = load_signer(file(tmp_path, kinds[kind], **more), {})
    assert is_development(config) is expected
    assert has_clear_keys(config) is (kind == "clear" and said is False)
    main = file(tmp_path, kinds[kind], ("ae_uat", "ae_mainnet"), **more)
    if expected:
        assert findings(main)[f"policy.{OWN}.networks"].found == "ae_mainnet"
    else:
        load_signer(main, {})


def test_every_mistake_about_keys_is_told_at_once(tmp_path: Path) -> None:
    """A signer that cannot sign says so at its start."""
    encrypted(tmp_path)
    keys = {
        "files": ["sealed"],
        "commands": [{"account": PEER, "argv": ["sign"]}],
        "transit": [transit(tmp_path, token_file="nothing", tls={"ca_file": "nothing"})],
    }
    assert set(findings(file(tmp_path, keys))) == {
        "keys",
        "keys.password_file",
        "keys.commands[0].argv",
        "keys.transit[0].token_file",
        "keys.transit[0].tls",
    }
    assert findings(file(tmp_path, {}))["keys"].found == "nothing"


def test_service_beyond_loopback_needs_tls_or_an_option_that_is_warned_of(tmp_path: Path) -> None:
    """The token is worth the key."""
    plain = transit(tmp_path, url="http://vault.example:8200")
    with pytest.raises(TlsRequired):
        load_signer(file(tmp_path, {"transit": [plain]}), {})
    config = load_signer(file(tmp_path, {"transit": [plain | {"plain_hosts": ["vault.example"]}]}), {})
    assert plain_connections(config) == ("http://vault.example:8200",)
    assert "s.token" not in str(masked(config))


def test_wrong_password_ends_the_start(tmp_path: Path) -> None:
    """Exit code 78, and neither the password nor the key in the sentence."""
    encrypted(tmp_path)
    (tmp_path / "password").unlink()
    write_secret(tmp_path / "password", "wrong horse")
    config = load_signer(file(tmp_path, {"files": ["sealed"], "password_file": "password"}), {})
    with pytest.raises(ConfigInvalid) as caught:
        open_ring(config)
    assert "wrong horse" not in str(caught.value.findings)


def test_keygen_writes_an_encrypted_key_and_encrypts_an_old_one(tmp_path: Path) -> None:
    """The way out of the clear needs no tool but ours."""
    write_secret(tmp_path / "password", PASSWORD)
    write_secret(tmp_path / "old", bytes(OWN_KEY).hex())
    words = ["keygen", str(tmp_path / "new"), "--encrypt", "--password-file", str(tmp_path / "password")]
    done = CliRunner().invoke(app, [*words, "--from", str(tmp_path / "old")])
    assert (done.exit_code, done.output.strip()) == (0, OWN)
    assert look_at(tmp_path / "new").is_encrypted
    assert bytes(OWN_KEY).hex() not in (tmp_path / "new").read_text()
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o600
    for half in (["--encrypt"], ["--from", str(tmp_path / "old")]):
        refused = CliRunner().invoke(app, ["keygen", str(tmp_path / "third"), *half])
        assert refused.exit_code == 2
        assert not (tmp_path / "third").exists()


def start(path: Path) -> tuple[int, str]:
    """A signer's process to its end, which must come by itself."""
    words = [sys.executable, "-m", "bridge", "signer", "--config", str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


def test_second_signer_on_one_directory_ends_with_exit_code_75(tmp_path: Path) -> None:
    """Its record would overlook what the other one signs."""
    account = generate(tmp_path / "clear")
    path = file(tmp_path, ["clear"], account=account, guard={"data_dir": "data"})
    with Guard(tmp_path / "data"):
        code, said = start(path)
    assert (code, "owner_conflict" in said) == (75, True), said


def test_signer_without_a_place_for_its_record_ends_with_exit_code_74(tmp_path: Path) -> None:
    """It signs nothing that it could not remember."""
    account = generate(tmp_path / "clear")
    code, said = start(file(tmp_path, ["clear"], account=account, guard={"data_dir": "clear/data"}))
    assert (code, "guard_unavailable" in said) == (74, True), said
