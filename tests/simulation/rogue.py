"""A dishonest client as orders to the simulated node: what it refuses is used as soon as the payer is away."""

from bridge.channel.terms import Role
from bridge.sim.fault import CutAt, Fault, Reuse

CODE = 147
"""Its own, so that no payment is tried again by itself."""


def reuse(role: Role, channel: str | None = None) -> tuple[Fault, ...]:
    """Of that role. The payer's client hears that its payment was refused, and loses its socket with that."""
    payer = Role.INITIATOR if role is Role.RESPONDER else Role.RESPONDER
    return (
        Reuse(role=role, channel=channel, code=CODE),
        CutAt(role=payer, channel=channel, word="conflict", side="after"),
    )
