"""Transactions and off-chain updates as bytes, both ways, by the tables of `wire.schema`.

Strict: what is read and written again is what came; everything else is refused with reason `encoding`. Knows nothing
of signatures. Source: transactions.md section 2.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar, assert_never

from bridge.channel.identifier import Account
from bridge.channel.transaction import Kind, Update
from bridge.errors import TransactionError
from bridge.wire import encoding, rlp
from bridge.wire.schema import ID_TAGS, LAYOUTS, UPDATES, Columns, Field

HASH_BYTES = 32

T = TypeVar("T")


class _Row(Protocol):
    """What both tables' rows have."""

    @property
    def tag(self) -> int: ...
    @property
    def version(self) -> int: ...
    @property
    def fields(self) -> Columns: ...


_R = TypeVar("_R", bound=_Row)


def wrong(sentence: str) -> TransactionError:
    return TransactionError("encoding", sentence)


def fields(inner: bytes) -> tuple[Kind, Mapping[str, object]]:
    """The fields of a transaction by their names: ids as text, amounts as integers, hashes and the rest as bytes.

    Raises TransactionError, and nothing else, whatever the bytes.
    """
    layout, values = _read_object(inner, LAYOUTS)
    return layout.kind, values


def build(kind: Kind, version: int, values: Mapping[str, object]) -> bytes:
    """Serialize a transaction; the layout is the one of this kind and version that has exactly these fields.

    Ids are given as text, hashes as bytes, the updates of a version 1 off-chain transaction as `Update`s (or as
    bytes, serialized already). Raises ValueError for fields no layout has and for values no field can hold.
    """
    updates = values.get("updates")
    if isinstance(updates, Iterable):
        parts = tuple(write_update(part) if isinstance(part, Update) else part for part in updates)
        values = {**values, "updates": parts}
    for layout in LAYOUTS:
        if (layout.kind, layout.version) == (kind, version) and dict(layout.fields).keys() == values.keys():
            return _write_object(layout, values)
    raise ValueError(f"no layout of {kind} version {version} has the fields {sorted(values)}")


def read_update(data: bytes) -> Update:
    """One operation of a version 1 off-chain transaction. Raises TransactionError.

    What operations on contracts have beyond an amount is not told, here as in the sign requests of later nodes.
    """
    layout, values = _read_object(data, UPDATES)
    amount, meta = values.get("amount"), values.get("data")
    return Update(
        op=layout.op,
        amount=amount if isinstance(amount, int) else None,
        from_account=_account(values.get("from")),
        to_account=_account(values.get("to")),
        # A meta text is anything a client sent; what is no UTF-8 stays visible.
        data=meta.decode("utf-8", "backslashreplace") if isinstance(meta, bytes) else None,
    )


def _account(value: object) -> Account | None:
    return Account(value) if isinstance(value, str) else None


def write_update(update: Update) -> bytes:
    """Raises ValueError for an operation an `Update` cannot hold in full: those on contracts."""
    given: dict[str, object] = {
        "from": update.from_account,
        "to": update.to_account,
        "amount": update.amount,
        "data": None if update.data is None else update.data.encode(),
    }
    values = {name: value for name, value in given.items() if value is not None}
    for layout in UPDATES:
        if layout.op == update.op and dict(layout.fields).keys() == values.keys():
            return _write_object(layout, values)
    raise ValueError(f"an update {update.op} cannot be built from {sorted(values)}")


# --- objects --------------------------------------------------------------------------------------------


def _read_object(data: bytes, table: Sequence[_R]) -> tuple[_R, dict[str, object]]:
    items = read_list(rlp.decode(data))
    if len(items) < 2:
        raise wrong("no tag and version")
    tag, version, count = read_integer(items[0]), read_integer(items[1]), len(items) - 2
    for row in table:
        if (row.tag, row.version, len(row.fields)) == (tag, version, count):
            pairs = zip(row.fields, items[2:], strict=True)
            return row, {name: _read_field(field, item) for (name, field), item in pairs}
    raise wrong(f"no layout for tag {tag}, version {version} with {count} fields")


def _write_object(row: _Row, values: Mapping[str, object]) -> bytes:
    body = [_write_field(field, values[name]) for name, field in row.fields]
    return rlp.encode([write_integer(row.tag), write_integer(row.version), *body])


# --- fields ---------------------------------------------------------------------------------------------


def _read_field(field: Field, item: rlp.Item) -> object:
    match field:
        case Field.INT:
            return read_integer(item)
        case Field.ACCOUNT | Field.CHANNEL | Field.CONTRACT:
            return _read_id(field, item)
        case Field.HASH:
            return _sized(read_bytes(item), HASH_BYTES)
        case Field.BINARY:
            return read_bytes(item)
        case Field.ACCOUNTS:
            return tuple(_read_id(Field.ACCOUNT, part) for part in read_list(item))
        case Field.BINARIES:
            return tuple(read_bytes(part) for part in read_list(item))
        case Field.INTS:
            return tuple(read_integer(part) for part in read_list(item))
        case Field.TRIPLES:
            return tuple(_read_triple(part) for part in read_list(item))
        case _:
            assert_never(field)


def _write_field(field: Field, value: object) -> rlp.Item:
    match field:
        case Field.INT:
            return write_integer(_expect(int, value))
        case Field.ACCOUNT | Field.CHANNEL | Field.CONTRACT:
            return _write_id(field, value)
        case Field.HASH | Field.BINARY:
            data = _expect(bytes, value)
            if field is Field.HASH and len(data) != HASH_BYTES:
                raise ValueError(f"a hash has {HASH_BYTES} bytes, not {len(data)}")
            return data
        case Field.ACCOUNTS:
            return _write_parts(value, lambda part: _write_id(Field.ACCOUNT, part))
        case Field.BINARIES:
            return _write_parts(value, lambda part: _expect(bytes, part))
        case Field.INTS:
            return _write_parts(value, lambda part: write_integer(_expect(int, part)))
        case Field.TRIPLES:
            return _write_parts(value, _write_triple)
        case _:
            assert_never(field)


def read_bytes(item: rlp.Item) -> bytes:
    if not isinstance(item, bytes):
        raise wrong("a list where bytes belong")
    return item


def read_list(item: rlp.Item) -> Sequence[rlp.Item]:
    if isinstance(item, bytes):
        raise wrong("bytes where a list belongs")
    return item


def read_integer(item: rlp.Item) -> int:
    """Zero is the byte 00, not the empty string."""
    data = read_bytes(item)
    if data == b"" or (data[0] == 0 and len(data) > 1):
        raise wrong("an integer not in its shortest form")
    return int.from_bytes(data, "big")


def write_integer(value: int) -> bytes:
    if value < 0:
        raise ValueError(f"{value} is below zero")
    return value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big")


def _sized(data: bytes, length: int) -> bytes:
    if len(data) != length:
        raise wrong(f"{len(data)} bytes where {length} belong")
    return data


def _read_id(field: Field, item: rlp.Item) -> str:
    tag, prefix = ID_TAGS[field]
    data = _sized(read_bytes(item), 1 + HASH_BYTES)
    if data[0] != tag:
        raise wrong(f"the id has tag {data[0]}, not {tag}")
    return encoding.encode(prefix, data[1:])


def _write_id(field: Field, value: object) -> bytes:
    tag, prefix = ID_TAGS[field]
    return bytes([tag]) + encoding.decode(_expect(str, value), prefix)


def _read_triple(item: rlp.Item) -> tuple[bytes, bytes, int]:
    parts = read_list(item)
    if len(parts) != 3:
        raise wrong("a transfer has three parts")
    return read_bytes(parts[0]), read_bytes(parts[1]), read_integer(parts[2])


def _write_triple(value: object) -> rlp.Item:
    sender, receiver, amount = _expect(tuple, value)
    return [_expect(bytes, sender), _expect(bytes, receiver), write_integer(_expect(int, amount))]


def _write_parts(value: object, write: Callable[[object], rlp.Item]) -> rlp.Item:
    return [write(part) for part in _expect(tuple, value)]


def _expect(kind: type[T], value: object) -> T:
    if not isinstance(value, kind):
        raise ValueError(f"{type(value).__name__} where {kind.__name__} belongs")  # noqa: TRY004  # by contract
    return value
