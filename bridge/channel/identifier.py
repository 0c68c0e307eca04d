"""Names and ids, each its own type, so that the type checker catches a swap."""

from hashlib import blake2b
from typing import NewType

ChannelName = NewType("ChannelName", str)
"""Our key for one role of one channel, chosen before it opens: `[a-z0-9-]{1,64}`."""

ChannelId = NewType("ChannelId", str)
"""The chain's id, `ch_…`, known from the funding transaction on."""

Account = NewType("Account", str)
"""An account's public key, `ak_…`."""

FsmId = NewType("FsmId", str)
"""The node's credential for re-attaching, `ba_…`. A secret: never log, publish or print it."""

CommandId = NewType("CommandId", str)
"""Chosen by the author of a command, unique for ever per deployment."""

SignRequestId = NewType("SignRequestId", str)
"""Our key for one question to a signer."""

ApprovalRequestId = NewType("ApprovalRequestId", str)
"""Our key for one question to the approvers."""

RequestId = NewType("RequestId", int)
"""The number a request to the node carries and its answer repeats."""

TransactionHash = NewType("TransactionHash", str)
"""blake2b-256 of the serialized inner transaction, 64 hex digits. The same for every signature state."""


def fingerprint(fsm_id: FsmId) -> str:
    """Tells one credential from another without being one: 32 hex digits."""
    return blake2b(fsm_id.encode(), digest_size=16).hexdigest()
