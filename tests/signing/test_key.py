"""`bridge.signing.key`: keys come from files in two forms and never show themselves."""

import copy
import json
import logging
import pickle
import traceback
from pathlib import Path
from typing import Any

import pytest

from bridge.channel.terms import SigningForm
from bridge.errors import ConfigInvalid
from bridge.signing.key import Key, generate, load_keys, read_key
from bridge.signing.secret import read_secret, write_secret
from bridge.wire.encoding import account as encode_account
from bridge.wire.transaction import signing_payload

VECTORS = json.loads((Path(__file__).parents[1] / "data" / "vectors.json").read_text())
VECTOR: dict[str, Any] = VECTORS["signing"][0]
SEED: str = VECTOR["seed"]
PUBLIC_KEY: str = VECTOR["public_key"]


def _key_file(directory: Path, text: str, name: str = "key") -> Path:
    path = directory / name
    write_secret(path, text)
    return path


@pytest.mark.parametrize("text", [SEED, SEED + PUBLIC_KEY, SEED.upper()], ids=["seed", "secret-key", "upper-case"])
def test_both_forms_of_a_key_give_the_same_account(tmp_path: Path, text: str) -> None:
    """Node and SDKs write 64-byte secret keys, others the seed: it is one account."""
    assert read_key(_key_file(tmp_path, text)).account == encode_account(bytes.fromhex(PUBLIC_KEY))


@pytest.mark.parametrize(
    ("form", "name"),
    [(SigningForm.NETWORK_RAW, "signature_raw"), (SigningForm.NETWORK_HASH, "signature_hash")],
)
async def test_signature_is_that_of_the_published_vector(tmp_path: Path, form: SigningForm, name: str) -> None:
    """A signature the node does not accept is worth nothing."""
    payload = signing_payload(bytes.fromhex(VECTOR["tx_hex"]), VECTOR["network_id"], form)
    assert (await read_key(_key_file(tmp_path, SEED)).sign(payload)).hex() == VECTOR[name]


@pytest.mark.parametrize(
    "text",
    [SEED[:-1], SEED + "00", "g" * 64, SEED + "0" * 64, "0" * 128, SEED + "zz" * 32],
    ids=["short", "long", "no-hex", "wrong-public-key", "zeros", "public-key-no-hex"],
)
def test_text_that_is_no_key_is_refused_without_being_shown(tmp_path: Path, text: str) -> None:
    """A key with a typing error is nearly a key: it must not reach a log through an error."""
    with pytest.raises(ConfigInvalid) as caught:
        read_key(_key_file(tmp_path, text))
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value.findings)
    assert text[:16] not in shown
    assert caught.value.__cause__ is None


def test_key_does_not_show_itself(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever prints a key by accident prints its account."""
    key = read_key(_key_file(tmp_path, SEED))
    with caplog.at_level(logging.INFO):
        logging.getLogger("test").info("%s %r %s", key, key, {"key": key})
    assert SEED not in caplog.text
    assert caplog.text.count(f"Key({key.account})") == 3
    assert not hasattr(key, "__dict__")


@pytest.mark.parametrize("leak", [pickle.dumps, copy.copy, copy.deepcopy])
def test_key_is_neither_copied_nor_pickled(tmp_path: Path, leak: Any) -> None:
    """A pickled key is a key on some disk."""
    with pytest.raises(TypeError, match="neither copied nor pickled"):
        leak(read_key(_key_file(tmp_path, SEED)))


def test_secrets_directory_holds_one_key_a_file(tmp_path: Path) -> None:
    """Orchestrators mount a directory, with hidden entries of their own beside the secrets."""
    accounts = {generate(tmp_path / "one"), generate(tmp_path / "two")}
    (tmp_path / "..data").mkdir()
    keys = load_keys([tmp_path])
    assert set(keys) == accounts
    assert all(isinstance(key, Key) and key.account == account for account, key in keys.items())


def test_files_and_directories_are_joined(tmp_path: Path) -> None:
    """Keys may lie in several places; naming one twice does no harm."""
    directory = tmp_path / "keys"
    directory.mkdir()
    inside, outside = generate(directory / "one"), generate(tmp_path / "two")
    assert set(load_keys([directory, tmp_path / "two", directory / "one"])) == {inside, outside}


def test_every_bad_key_file_is_told_at_once(tmp_path: Path) -> None:
    """Mending one mistake at a time is a bad afternoon."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "open").write_text(SEED)
    (tmp_path / "open").chmod(0o644)
    _key_file(tmp_path, "abc", "short")
    paths = [tmp_path / name for name in ("empty", "open", "short", "absent")]
    with pytest.raises(ConfigInvalid) as caught:
        load_keys(paths)
    assert [finding.path for finding in caught.value.findings] == [str(path) for path in paths]


def test_generated_key_is_kept_in_its_file(tmp_path: Path) -> None:
    """What `generate` tells is the account the file's key signs for; two keys are never the same."""
    account = generate(tmp_path / "key")
    assert read_key(tmp_path / "key").account == account
    assert len(read_secret(tmp_path / "key")) == 64
    assert generate(tmp_path / "other") != account
    with pytest.raises(FileExistsError):
        generate(tmp_path / "key")
