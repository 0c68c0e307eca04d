"""`bridge.wire.serialization` and the tables of `bridge.wire.schema`: every layout both ways, nothing half read."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.channel.identifier import Account
from bridge.channel.transaction import Kind, Update
from bridge.errors import EncodingError, TransactionError
from bridge.wire import encoding, rlp
from bridge.wire.schema import ID_TAGS, LAYOUTS, UPDATES, Field, Layout
from bridge.wire.serialization import build, fields, read_integer, read_update, write_integer, write_update

KEY = bytes(range(32))
ALICE, BOB = encoding.account(KEY), encoding.account(bytes(32))
CHANNEL = encoding.encode("ch", KEY)
amounts = st.integers(0, 2**90)
keys = st.binary(min_size=32, max_size=32)
texts = {field: keys.map(partial(encoding.encode, prefix)) for field, (_, prefix) in ID_TAGS.items()}
VALUES: Mapping[Field, st.SearchStrategy[Any]] = {
    **texts,
    Field.INT: amounts,
    Field.HASH: keys,
    Field.BINARY: st.binary(max_size=80),
    Field.ACCOUNTS: st.lists(texts[Field.ACCOUNT], max_size=3).map(tuple),
    Field.BINARIES: st.lists(st.binary(max_size=60), max_size=3).map(tuple),
    Field.INTS: st.lists(amounts, max_size=3).map(tuple),
    Field.TRIPLES: st.lists(st.tuples(st.binary(), st.binary(), amounts), max_size=3).map(tuple),
}


def name_of(layout: Layout) -> str:
    return f"{layout.tag}-{layout.version}-{len(layout.fields)}"


@pytest.mark.parametrize("layout", LAYOUTS, ids=name_of)
@settings(max_examples=20)
@given(data=st.data())
def test_every_layout_is_read_as_it_was_built(layout: Layout, data: st.DataObject) -> None:
    """The simulated node builds with the table that the bridge reads with."""
    values = {name: data.draw(VALUES[field]) for name, field in layout.fields}
    inner = build(layout.kind, layout.version, values)
    assert fields(inner) == (layout.kind, values)


def test_layouts_can_be_told_apart() -> None:
    """Bytes name tag, version and number of fields: two layouts alike in these would be read by chance."""
    keys_of = [(layout.tag, layout.version, len(layout.fields)) for layout in LAYOUTS]
    assert len(set(keys_of)) == len(keys_of)
    assert {kind for kind in Kind if kind is not Kind.OPAQUE} == {layout.kind for layout in LAYOUTS}


@pytest.mark.parametrize(
    ("tag", "version", "count"),
    [
        *((50, 1, 10), (50, 1, 11), (50, 2, 12), (51, 1, 8), (52, 1, 8), (53, 1, 6), (53, 1, 7), (54, 1, 7)),
        *((55, 1, 7), (56, 1, 7), (57, 1, 9), (57, 1, 4), (57, 2, 3), (59, 1, 6), (81, 1, 8), (81, 2, 7)),
        *((501, 1, 10), (521, 1, 10), (575, 1, 4)),
    ],
)
def test_the_table_has_the_documented_layouts(tag: int, version: int, count: int) -> None:
    """Counted from the node's serialization document, not from our table."""
    assert sum((row.tag, row.version, len(row.fields)) == (tag, version, count) for row in LAYOUTS) == 1


# --- what is refused ------------------------------------------------------------------------------------

GOOD = rlp.decode(build(Kind.OFFCHAIN, 2, {"channel_id": CHANNEL, "round": 2, "state_hash": KEY}))


@pytest.mark.parametrize(
    ("place", "item"),
    [
        (0, b"\x38"),
        (0, b"\x00\x39"),
        (0, b""),
        (0, [b"\x39"]),
        (1, b"\x03"),
        (2, b"\x06" + KEY[1:]),
        (2, b"\x06" + KEY + b"\0"),
        (2, b"\x01" + KEY),
        (2, b"\x07" + KEY),
        (2, b""),
        (2, [b"\x06" + KEY]),
        (3, b""),
        (3, b"\x00\x02"),
        (3, []),
        (4, KEY[1:]),
        (4, KEY + b"\0"),
        (4, [KEY]),
    ],
)
def test_a_field_of_another_form_is_refused(place: int, item: rlp.Item) -> None:
    """Read generously, two different byte strings would be the same transaction with two hashes."""
    assert not isinstance(GOOD, bytes)
    parts = list(GOOD)
    parts[place] = item
    with pytest.raises(TransactionError) as caught:
        fields(rlp.encode(parts))
    assert caught.value.reason == "encoding"


@pytest.mark.parametrize(
    ("name", "item"),
    [
        ("delegate_ids", b""),
        ("delegate_ids", [b"\6" + KEY]),
        ("delegate_ids", [[b"\1" + KEY]]),
        ("nonce", [b"\1"]),
        ("updates", b""),
        ("updates", [[b"", b""]]),
        ("updates", [[b"", b"", b"\1", b""]]),
        ("updates", [[b"", b"", b"\0\1"]]),
        ("updates", [b"abc"]),
    ],
)
def test_a_list_of_another_form_is_refused(name: str, item: rlp.Item) -> None:
    """An empty string in place of an empty list reads as nothing either, and hashes otherwise."""
    rows = {row.tag: row for row in LAYOUTS if len(row.fields) in {9, 11} and row.tag in {50, 57}}
    row = next(row for row in rows.values() if name in dict(row.fields))
    good: dict[Field, rlp.Item] = {
        Field.ACCOUNT: b"\1" + KEY,
        Field.INT: b"\1",
        Field.HASH: KEY,
        Field.BINARY: b"",
        Field.ACCOUNTS: [],
        Field.TRIPLES: [],
    }
    parts: list[rlp.Item] = [good[field] for _, field in row.fields]
    head = [write_integer(row.tag), write_integer(row.version)]
    assert fields(rlp.encode([*head, *parts]))[0] is row.kind
    parts[[column for column, _ in row.fields].index(name)] = item
    with pytest.raises(TransactionError):
        fields(rlp.encode([*head, *parts]))


@pytest.mark.parametrize("item", [b"", b"\x39", [], [b"\x39"], [b"\x39", b"\x02"], [[], []]])
def test_what_has_no_tag_version_and_fields_is_refused(item: rlp.Item) -> None:
    """The shortest things that are not a transaction."""
    with pytest.raises(TransactionError):
        fields(rlp.encode(item))


@given(st.one_of(st.binary(), st.lists(st.binary(max_size=40), max_size=14).map(rlp.encode)))
def test_any_bytes_give_fields_or_the_named_error(data: bytes) -> None:
    """They come from nodes, peers and signers."""
    try:
        kind, values = fields(data)
    except TransactionError:
        return
    assert kind in Kind
    assert values


@given(st.one_of(st.binary(), st.lists(st.binary(max_size=40), max_size=9).map(rlp.encode)))
def test_any_bytes_give_an_update_or_the_named_error(data: bytes) -> None:
    """Updates are serialized inside a transaction that is itself well formed."""
    try:
        update = read_update(data)
    except TransactionError:
        return
    assert update.op in {layout.op for layout in UPDATES}


@given(st.integers(0, 2**300))
def test_integers_have_one_form(value: int) -> None:
    """No leading zeros; zero is one zero byte and not nothing."""
    written = write_integer(value)
    assert read_integer(written) == value
    assert (written == b"\0") is (value == 0)
    assert value == 0 or written[0] != 0


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"round": -1}, ValueError),
        ({"round": "2"}, ValueError),
        ({"round": None}, ValueError),
        ({"state_hash": KEY[1:]}, ValueError),
        ({"state_hash": KEY.hex()}, ValueError),
        ({"channel_id": KEY}, ValueError),
        ({"channel_id": ALICE}, EncodingError),
        ({"nonce": 1}, ValueError),
    ],
)
def test_what_no_field_can_hold_is_not_built(changes: dict[str, object], error: type[Exception]) -> None:
    """A mistake of ours is told where it was made, not by a node's refusal later."""
    good = {"channel_id": CHANNEL, "round": 2, "state_hash": KEY}
    assert build(Kind.OFFCHAIN, 2, good) == rlp.encode(GOOD)
    with pytest.raises(error):
        build(Kind.OFFCHAIN, 2, good | changes)


# --- updates --------------------------------------------------------------------------------------------

UPDATE_ROWS = [
    Update("OffChainTransfer", 5, from_account=ALICE, to_account=BOB),
    Update("OffChainTransfer", 0, from_account=BOB, to_account=ALICE),
    Update("OffChainDeposit", 7, from_account=ALICE),
    Update("OffChainWithdrawal", 10**27, to_account=BOB),
    Update("OffChainMeta", data="wörld"),
]


@pytest.mark.parametrize("update", UPDATE_ROWS)
def test_updates_are_read_as_they_were_written(update: Update) -> None:
    """What a signer of an early node is shown is what the transaction says."""
    assert read_update(write_update(update)) == update


def test_an_update_has_its_documented_form() -> None:
    """Tag 570 is 023a, version 1, two tagged keys and the amount: written by hand, byte for byte."""
    expected = "f849" + "82023a" + "01" + "a101" + KEY.hex() + "a101" + "00" * 32 + "05"
    assert write_update(UPDATE_ROWS[0]).hex() == expected


def test_operations_on_contracts_are_named() -> None:
    """They are outside what the bridge acknowledges; to refuse them it must know them."""
    new: list[rlp.Item] = [write_integer(573), b"\1", b"\1" + KEY, b"\3", b"code", b"\5", b"data"]
    call: list[rlp.Item] = [
        write_integer(574),
        b"\1",
        b"\1" + KEY,
        b"\5" + KEY,
        b"\1",
        b"\x09",
        b"\x0a",
        b"\1",
        b"data",
        [b"\0", b"\2"],
    ]
    assert read_update(rlp.encode(new)) == Update("OffChainNewContract")
    assert read_update(rlp.encode(call)) == Update("OffChainCallContract", amount=9)


def test_meta_that_is_no_text_stays_visible() -> None:
    """A client may send any bytes."""
    data = rlp.encode([write_integer(576), b"\2", b"\xff!"])
    assert read_update(data) == Update("OffChainMeta", data="\\xff!")


@pytest.mark.parametrize(
    "items",
    [
        [write_integer(570), b"\1", b"\1" + KEY, b"\1" + KEY],
        [write_integer(570), b"\2", b"\1" + KEY, b"\1" + KEY, b"\5"],
        [write_integer(570), b"\1", b"\1" + KEY, b"\6" + KEY, b"\5"],
        [write_integer(570), b"\1", b"\1" + KEY, b"\1" + KEY, b"\5", b"\5"],
        [write_integer(576), b"\1", b"text"],
        [write_integer(999), b"\1"],
    ],
)
def test_an_update_of_another_form_is_refused(items: list[rlp.Item]) -> None:
    """Half an operation must not look like a harmless whole one."""
    with pytest.raises(TransactionError):
        read_update(rlp.encode(items))


@pytest.mark.parametrize(
    "update",
    [
        Update("OffChainCallContract", 5),
        Update("OffChainTransfer", 5, from_account=ALICE),
        Update("OffChainDeposit", 5, from_account=ALICE, to_account=BOB),
        Update("nothing"),
        Update("OffChainDeposit", 5, from_account=Account("ak_1")),
    ],
)
def test_an_update_that_is_not_complete_is_not_built(update: Update) -> None:
    """The bytes would say less than whoever wrote it meant."""
    with pytest.raises((ValueError, EncodingError)):
        write_update(update)


def test_updates_are_given_as_values_or_as_bytes() -> None:
    """Bytes are for those an `Update` cannot hold in full."""
    values = {"channel_id": CHANNEL, "round": 2, "state_hash": KEY}
    given_values = build(Kind.OFFCHAIN, 1, {**values, "updates": tuple(UPDATE_ROWS)})
    given_bytes = build(Kind.OFFCHAIN, 1, {**values, "updates": tuple(map(write_update, UPDATE_ROWS))})
    assert given_values == given_bytes
    assert fields(given_values)[1]["updates"] == tuple(map(write_update, UPDATE_ROWS))
