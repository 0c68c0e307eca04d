"""What a transaction takes the place of: two that take the same place exclude each other, so only one may be signed.

Read from the transaction's own bytes alone; what a request says beside them moves nothing to another place. The chain
and the form of the signature are no part of a place: the same round of the same channel is the same money whatever
prefix was signed with it. Source: transactions.md section 1.
"""

from dataclasses import dataclass
from enum import StrEnum

from bridge.channel.identifier import ChannelId
from bridge.channel.transaction import Kind, Transaction

HIGHEST = 2**63 - 1
"""The highest number that can be stored. No round and no nonce of a living chain comes near it."""


class Place(StrEnum):
    """What numbers the alternatives of a channel."""

    ROUND = "round"
    """Of a state, off-chain or made by a create, deposit or withdrawal; whichever is co-signed is the state."""
    CLOSE = "close"
    """A mutual close has no round: it pays out, whenever it is posted. There is one at a time for a channel."""
    NONCE = "nonce"
    """What one party posts alone (a solo close, a slash, a settlement) is numbered by its account."""


@dataclass(frozen=True, slots=True)
class Slot:
    channel: ChannelId
    place: Place
    number: int
    """The round or nonce; 0 for a close."""

    def __str__(self) -> str:
        what = "the mutual close" if self.place is Place.CLOSE else f"{self.place} {self.number}"
        return f"{what} of {self.channel}"


def slot_of(transaction: Transaction) -> Slot | None:
    """None for what names no channel, or nothing its alternatives could be told by: that is never signed."""
    channel, number = transaction.channel_id, transaction.round
    if channel is None:
        return None
    if transaction.kind is Kind.CLOSE_MUTUAL:
        return Slot(channel, Place.CLOSE, 0)
    place = Place.NONCE if number is None else Place.ROUND
    number = transaction.nonce if number is None else number
    return None if number is None or number > HIGHEST else Slot(channel, place, number)
