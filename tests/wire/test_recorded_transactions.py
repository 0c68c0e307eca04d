"""Every transaction in the corpus and the recordings: read, written again byte for byte, and its signatures verified.

What does not fit is listed here one by one: it was sent wrong on purpose, or a node wrote it so.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from bridge.channel.identifier import Account
from bridge.channel.terms import SigningForm
from bridge.channel.transaction import Kind, Transaction
from bridge.errors import EncodingError
from bridge.wire import encoding, rlp
from bridge.wire.serialization import read_integer, read_list
from bridge.wire.transaction import build, fields, read, unwrap, verify, wrap
from tests.wire.recorded import DATA

ACCOUNT = re.compile(r"ak_[1-9A-HJ-NP-Za-km-z]{40,}")
SIGNED_BY_PARTIES = {Kind.CREATE, Kind.OFFCHAIN, Kind.DEPOSIT, Kind.WITHDRAW, Kind.CLOSE_MUTUAL}

NO_TRANSACTION = {("rpc", "tx_abc")}
"""Sent to see what the node says to it."""
WRITTEN_TWICE = {("deposit_taken_over", 351), ("history_after_reconnect", 203)}
"""The node's history encodes what is already encoded: the payload is a text that begins with `tx_`. Its length."""
NOT_A_NODES_ORDER = {("cosign", Kind.OFFCHAIN, 2, 3)}
"""A client's reply that holds its own signature twice. Round and number of signatures."""
NOBODYS = {("sig", 2, "308e7c186bb8ae61"), ("sig", 4, "def04a0b92fb5dfb")}
"""Wrong signatures on purpose: file, round, how the signature begins."""
KEYS_NOT_IN_THE_FILE = 8
"""Signatures of the seed document, whose examples name no keys; those known otherwise are in test_transaction."""


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from strings(part)
    elif isinstance(value, str):
        yield value


@cache
def files(folder: str) -> dict[str, str]:
    return {path.stem: path.read_text() for path in sorted(Path(DATA, folder).glob("*.jsonl"))}


@cache
def texts(content: str) -> tuple[str, ...]:
    """Each transaction of a file once."""
    found = {text for line in content.splitlines() for text in strings(json.loads(line))}
    return tuple(sorted(text for text in found if text.startswith(("tx_", "tx$"))))


@cache
def transactions(folder: str) -> tuple[tuple[str, str, Transaction], ...]:
    """File, text as it stands there, and what was read."""
    rows = [(stem, text) for stem, content in files(folder).items() for text in texts(content)]
    return tuple((stem, text, read(text)) for stem, text in rows if (stem, text) not in NO_TRANSACTION)


FOLDERS = ("corpus", "recordings")


def test_there_is_something_to_read() -> None:
    """The tests below hold for nothing at all as well."""
    assert len(transactions("corpus")) > 1000
    assert len(transactions("recordings")) > 500
    kinds = Counter(found.kind for folder in FOLDERS for _, _, found in transactions(folder))
    assert set(kinds) == set(Kind) - {Kind.SET_DELEGATES, Kind.CLIENT_RECONNECT}


@pytest.mark.parametrize(("stem", "text"), NO_TRANSACTION)
def test_what_is_no_transaction_is_refused(stem: str, text: str) -> None:
    """It stands in the file, and is refused by name."""
    assert text in texts(files("recordings")[stem])
    with pytest.raises(EncodingError):
        read(text)


@pytest.mark.parametrize("folder", FOLDERS)
def test_texts_are_written_as_they_came(folder: str) -> None:
    """The same bytes in the spelling of the node they came from."""
    for _, text, found in transactions(folder):
        write = encoding.normalize if text[2] == "_" else encoding.to_legacy
        assert write(found.text) == text


@pytest.mark.parametrize("folder", FOLDERS)
def test_transactions_are_built_as_they_were_read(folder: str) -> None:
    """No field is lost, reordered or reformed on its way through our table."""
    unsorted = set()
    for stem, _, found in transactions(folder):
        data = encoding.decode(found.text, "tx")
        signed = unwrap(data) if found.wrapped else None
        inner = data if signed is None else signed.inner
        if found.kind is not Kind.OPAQUE:
            kind, values = fields(inner)
            assert kind is found.kind
            assert build(kind, read_integer(read_list(rlp.decode(inner))[1]), values) == inner
        if signed is not None and wrap(signed.signatures, signed.inner) != data:
            unsorted.add((stem, found.kind, found.round, len(signed.signatures)))
    assert unsorted == (NOT_A_NODES_ORDER if folder == "recordings" else set())


def test_only_what_is_listed_is_opaque() -> None:
    """The seed's four update samples of before 0.13, and what a node's history wrote twice."""
    opaque = {folder: [row for row in transactions(folder) if row[2].kind is Kind.OPAQUE] for folder in FOLDERS}
    assert [stem for stem, _, _ in opaque["corpus"]] == ["seed"] * 3  # two rows show the same transaction
    twice = {(stem, encoding.decode(text, "tx")) for stem, text, _ in opaque["recordings"]}
    assert {(stem, len(data)) for stem, data in twice} == WRITTEN_TWICE
    for _, data in twice:
        assert read(data.decode()).kind in {Kind.DEPOSIT, Kind.OFFCHAIN}


@pytest.mark.parametrize(
    ("folder", "networks", "form"),
    [
        ("corpus", ("local_iris_testnet", "local_lima_testnet"), SigningForm.NETWORK_RAW),
        ("recordings", ("ae_dev",), SigningForm.NETWORK_HASH),
    ],
)
def test_each_signature_is_one_of_the_parties(folder: str, networks: tuple[str, ...], form: SigningForm) -> None:
    """Real signatures by real nodes and clients, over the bytes and the network we take them to cover."""
    unexplained, verified = [], 0
    for stem, _, found in transactions(folder):
        if found.kind not in SIGNED_BY_PARTIES or not found.wrapped:
            continue
        inner = unwrap(encoding.decode(found.text, "tx")).inner
        for signature in map(bytes.fromhex, found.signatures):
            pairs = ((account, network) for network in networks for account in accounts(folder, stem))
            if any(verify(signature, inner, account, network, [form]) for account, network in pairs):
                verified += 1
            else:
                unexplained.append((stem, found.round, signature.hex()[:16]))
    assert verified > 900
    if folder == "corpus":
        assert [stem for stem, _, _ in unexplained] == ["seed"] * KEYS_NOT_IN_THE_FILE
    else:
        assert set(unexplained) == NOBODYS


@cache
def accounts(folder: str, stem: str) -> tuple[Account, ...]:
    """All accounts named in a file."""
    return tuple(sorted(map(Account, set(ACCOUNT.findall(files(folder)[stem])))))


def test_created_channels_have_the_id_their_node_told() -> None:
    """The id worked out from a create transaction is the one in the frames of the same file."""
    created = 0
    for folder in FOLDERS:
        for stem, _, found in transactions(folder):
            told = set(re.findall(r"\"channel_id\": ?\"(ch_\w+)\"", files(folder)[stem]))
            if found.kind is Kind.CREATE and len(found.signatures) == 2 and told:
                assert found.channel_id in told
                created += 1
    assert created > 50
