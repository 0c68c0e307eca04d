"""A Merkle Patricia tree as the node keeps its state in: root hash, and the nodes that prove what is under it.

Pure. Nodes are RLP lists, named by their blake2b hash; one shorter than a hash stands in its parent itself. Paths are
hex digits with the usual prefix digit (2 and 3 a leaf, 0 and 1 an extension). Checked against trees, proofs and state
hashes of a real node in the recordings.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bridge.wire import rlp
from bridge.wire.signature import blake2b

HASH_BYTES = 32
_LEAF, _EXTENSION = 2, 0
_Digits = tuple[int, ...]
_Item = rlp.Item


@dataclass
class Tree:
    """`root` is empty for a tree without entries. `nodes` holds every node that has a name."""

    root: bytes = b""
    nodes: dict[bytes, _Item] = field(default_factory=dict)


def build(entries: Mapping[bytes, bytes]) -> Tree:
    """Keys to values, all of them below one root."""
    tree = Tree()
    if entries:
        top = _node(tree, [(_digits(key), value) for key, value in sorted(entries.items())])
        tree.root = blake2b(rlp.encode(top))
        tree.nodes[tree.root] = top
    return tree


def prove(tree: Tree, keys: Sequence[bytes]) -> Mapping[bytes, _Item]:
    """The named nodes on the way to these keys, as they are or as they are missed."""
    found: dict[bytes, _Item] = {}
    for key in keys:
        _walk(tree, tree.root, _digits(key), found)
    return found


def _node(tree: Tree, entries: list[tuple[_Digits, bytes]]) -> _Item:
    if len(entries) == 1:
        path, value = entries[0]
        return [_pack(path, _LEAF), value]
    shared = _shared([path for path, _ in entries])
    if shared:
        below = _node(tree, [(path[shared:], value) for path, value in entries])
        return [_pack(entries[0][0][:shared], _EXTENSION), _refer(tree, below)]
    own = [value for path, value in entries if not path]
    below_each = [[(path[1:], value) for path, value in entries if path and path[0] == digit] for digit in range(16)]
    return [*(_refer(tree, _node(tree, part)) if part else b"" for part in below_each), own[0] if own else b""]


def _refer(tree: Tree, node: _Item) -> _Item:
    data = rlp.encode(node)
    if len(data) < HASH_BYTES:
        return node
    name = blake2b(data)
    tree.nodes[name] = node
    return name


def _walk(tree: Tree, place: _Item, path: _Digits, found: dict[bytes, _Item]) -> None:
    """From a node, or the name of one, on along the path."""
    if isinstance(place, bytes):
        if place not in tree.nodes:
            return
        found[place] = tree.nodes[place]
    match found[place] if isinstance(place, bytes) else place:
        case [bytes(packed), below]:
            own, is_leaf = _unpack(packed)
            if not is_leaf and path[: len(own)] == own:
                _walk(tree, below, path[len(own) :], found)
        case [*below_each, _] if path:
            _walk(tree, below_each[path[0]], path[1:], found)
        case _:
            pass


def _shared(paths: list[_Digits]) -> int:
    """How many digits all of them begin with."""
    first, last = min(paths), max(paths)
    count = 0
    while count < min(len(first), len(last)) and first[count] == last[count]:
        count += 1
    return count


def _digits(key: bytes) -> _Digits:
    return tuple(digit for byte in key for digit in divmod(byte, 16))


def _pack(path: _Digits, kind: int) -> bytes:
    digits = (kind + 1, *path) if len(path) % 2 else (kind, 0, *path)
    return bytes(high * 16 + low for high, low in zip(digits[::2], digits[1::2], strict=True))


def _unpack(packed: bytes) -> tuple[_Digits, bool]:
    digits = _digits(packed)
    return (digits[1:] if digits[0] % 2 else digits[2:]), digits[0] >= _LEAF
