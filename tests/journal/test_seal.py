"""Sealing: nothing readable, nothing that can be changed unnoticed."""

import pytest

from bridge.errors import JournalUnavailable
from bridge.journal.seal import Seal
from tests.journal.given import FSM_ID, KEY


def test_what_is_sealed_comes_back_and_shows_nothing() -> None:
    """Twice the same credential gives different bytes: a copy does not even tell that it was not rotated."""
    seal = Seal(KEY)
    first, second = seal.close(FSM_ID), seal.close(FSM_ID)
    assert seal.open(first) == seal.open(second) == FSM_ID
    assert first != second
    assert FSM_ID[3:].encode() not in first


def test_a_changed_byte_is_noticed() -> None:
    """A damaged credential sent to the node would lock the channel's owner out."""
    data = bytearray(Seal(KEY).close(FSM_ID))
    data[-1] ^= 1
    with pytest.raises(JournalUnavailable, match="not the one"):
        Seal(KEY).open(bytes(data))


def test_neither_key_nor_text_shows_in_an_error_or_repr() -> None:
    """Errors are logged."""
    sealed = Seal(KEY).close(FSM_ID)
    with pytest.raises(JournalUnavailable) as caught:
        Seal(b"x" * 32).open(sealed)
    shown = repr(caught.value) + str(caught.value) + repr(Seal(KEY))
    assert "kkkk" not in shown
    assert FSM_ID not in shown
