"""What stands under `data` in the events of the books, as models. By the same rules as `wire.eventdata`."""

from typing import Annotated, Literal

from pydantic import Field

from bridge.wire.body import Aettos
from bridge.wire.eventdata import EventData, Hash

Balance = Annotated[str, Field(pattern=r"^-?[0-9]+$", description="Aettos, decimal; positive when debits prevail.")]
AccountName = Literal[
    "channel.initiator",
    "channel.responder",
    "chain.initiator",
    "chain.responder",
    "fee.initiator",
    "fee.responder",
    "brought_forward",
    "suspense",
]
EntryKind = Literal[
    "opening",
    "payment",
    "checkpoint",
    "deposit",
    "withdrawal",
    "close",
    "reversal",
    "adjustment",
    "brought_forward",
]


class LedgerLine(EventData):
    """One side of an entry. Debits and credits of an entry are equal."""

    account: AccountName = Field(description="The account in the channel's books.")
    party: str | None = Field(description="The account on chain it is of, `ak_…`.")
    side: Literal["own", "peer"] | None = Field(description="Whether that is ours.")
    debit: Aettos
    credit: Aettos
    balance: Balance


class Posted(EventData):
    """A balanced entry of the books."""

    entry: int = Field(ge=1, description="Its number in this channel's books, without a gap.")
    entry_id: str = Field(description="The channel's name and the number: the key to drop repeats by.")
    fact_id: str = Field(description="What it is about; the same for both roles of a channel.")
    kind: EntryKind = Field(description="What happened.")
    entry_round: int = Field(description="The round of the co-signed state it is about.")
    tx_hash: Hash | None = Field(description="The evidence; none where nobody has shown the transaction.")
    command_id: str | None = Field(description="The command of ours it carried out.")
    reverses: str | None = Field(description="Of a reversal: the fact it takes back.")
    lines: list[LedgerLine] = Field(description="In a fixed order, none of zero.")
    initiator_balance: Aettos
    responder_balance: Aettos
    sentence: str = Field(description="For people. Not stable.")


class BooksDisagree(EventData):
    """The books were adjusted to what the node proves: somebody has to find out why."""

    sentence: str = Field(description="For people. Not stable.")
    round: int
    tx_hash: Hash | None
    booked_initiator_balance: Aettos
    booked_responder_balance: Aettos
    initiator_balance: Aettos
    responder_balance: Aettos
    suspense_balance: Balance = Field(description="What no fact explains.")
