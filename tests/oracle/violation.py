"""What the oracle answers with."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule."""

    rule: str
    subject: str
    """The channel, pair or command it is about."""
    text: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.subject}: {self.text}"
