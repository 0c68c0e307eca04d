"""The rules about secrets: no key, credential or password where people or programs read, and that was looked at."""

from collections.abc import Iterator

from tests.oracle.evidence import Arrived, Evidence
from tests.oracle.violation import Violation


def nothing_secret_is_readable(evidence: Evidence) -> Iterator[Violation]:
    """A log that is shared, or an event that is archived, must not give a channel away."""
    for place, text in _places(evidence):
        found = sum(secret in text for secret in evidence.secrets)
        if found:
            yield Violation("nothing secret is readable", place, f"{found} secrets")


def there_is_something_to_look_through(evidence: Evidence) -> Iterator[Violation]:
    """Whoever gathers names each text that a run must have: no secret is found in an empty one, whatever leaks."""
    if not evidence.texts:
        yield Violation("there is something to look through", "texts", "neither logs nor metrics were kept")
    for place, text in evidence.texts.items():
        if not text.strip():
            yield Violation("there is something to look through", place, "it is empty")


def _places(evidence: Evidence) -> Iterator[tuple[str, str]]:
    for name, messages in (("results", evidence.results), ("events", evidence.events), ("letters", evidence.letters)):
        if messages:
            yield name, "\n".join(_text(message) for message in messages)
    yield from evidence.texts.items()


def _text(message: Arrived) -> str:
    return f"{message.routing_key} {message.body.decode(errors='replace')} {dict(message.headers)}"
