"""`bridge.signing.sealed`, and encrypted keys as `bridge.signing.key` reads them: useless without the password."""

import traceback
from pathlib import Path

import pytest
from nacl.pwhash import argon2id

from bridge.errors import ConfigInvalid
from bridge.signing.key import encrypt, generate, load_keys, look_at, read_key
from bridge.signing.sealed import account_of, is_sealed, seal, unseal
from bridge.signing.secret import read_secret, write_secret
from tests.signing.given import OWN, OWN_KEY, PEER

PASSWORD = "correct horse battery staple"
SEED = bytes(OWN_KEY)
HERE = Path("key")


def sealed(seed: bytes = SEED, account: str = OWN) -> str:
    """With the least work, so that the tests do not take seconds each."""
    return seal(seed, type(OWN)(account), PASSWORD, argon2id.OPSLIMIT_MIN, argon2id.MEMLIMIT_MIN)


def refusal(text: str, password: str = PASSWORD) -> str:
    with pytest.raises(ConfigInvalid) as caught:
        unseal(HERE, text, password)
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value.findings)
    assert PASSWORD not in shown
    assert SEED.hex() not in shown
    (finding,) = caught.value.findings
    return finding.found


def test_key_comes_out_as_it_went_in_and_no_two_files_are_alike() -> None:
    """Salt and nonce are drawn each time: two files tell nobody whether they hold one key."""
    first, second = sealed(), sealed()
    assert unseal(HERE, first, PASSWORD) == unseal(HERE, second, PASSWORD) == SEED
    assert first.split(":")[5:] != second.split(":")[5:]
    assert is_sealed(first)
    assert not is_sealed(SEED.hex())
    assert account_of(HERE, first) == OWN
    assert SEED.hex() not in first


def test_another_password_opens_nothing() -> None:
    """Nor does the finding say more than that."""
    assert refusal(sealed(), PASSWORD + " ") == "a key that this password does not open"


@pytest.mark.parametrize("place", [3, 4, 5, 6])
def test_every_changed_part_is_noticed(place: int) -> None:
    """A file somebody wrote to is no key, whatever he changed."""
    parts = sealed().split(":")
    parts[place] = {3: "2", 4: "16384"}.get(place, ("0" if parts[place][0] != "0" else "1") + parts[place][1:])
    assert refusal(":".join(parts)) == "a key that this password does not open"


def test_account_is_that_of_the_key() -> None:
    """It stands in the clear: a swapped one would put the signer on another's queue."""
    assert refusal(sealed(account=PEER)) == f"another key than that of {PEER}"


@pytest.mark.parametrize(
    ("old", "new"),
    [(".v1:", ".v2:"), (":argon2id:", ":argon2i:"), (":1:8192:", ":21:8192:"), (":8192:", ":99999999999:")],
)
def test_file_of_another_kind_is_refused_before_any_work(old: str, new: str) -> None:
    """A file that asks for terabytes of memory would otherwise stop the machine."""
    text = sealed()
    assert old in text
    assert refusal(text.replace(old, new)) != "a key that this password does not open"


async def test_encrypted_key_file_signs_like_the_clear_one(tmp_path: Path) -> None:
    """The same key in another dress, beside clear ones in one directory."""
    keys = tmp_path / "keys"
    keys.mkdir()
    write_secret(tmp_path / "clear", SEED.hex())
    assert encrypt(tmp_path / "clear", keys / "one", PASSWORD) == OWN
    made = generate(keys / "two")
    assert (look_at(keys / "one").is_encrypted, look_at(keys / "two").is_encrypted) == (True, False)
    assert look_at(keys / "one").account == OWN
    ring = load_keys([keys], PASSWORD)
    assert set(ring) == {OWN, made}
    assert await ring[OWN].sign(b"text") == OWN_KEY.sign(b"text").signature
    assert SEED.hex() not in read_secret(keys / "one")


def test_encrypted_key_without_a_password_is_told_so(tmp_path: Path) -> None:
    """The option is forgotten more easily than the password."""
    write_secret(tmp_path / "key", sealed())
    with pytest.raises(ConfigInvalid) as caught:
        read_key(tmp_path / "key")
    assert "password_file" in caught.value.findings[0].expected
