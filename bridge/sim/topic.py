"""Which routing keys a topic binding takes. Source: AMQP 0-9-1, section 3.1.3.3, and RabbitMQ's topic exchange."""

from functools import lru_cache


@lru_cache(maxsize=8192)
def fits(pattern: str, key: str) -> bool:
    """Words are parted by dots: `*` is any one word, `#` any number of them, none included."""
    return _fits(_words(pattern), _words(key))


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split(".")) if text else ()


def _fits(pattern: tuple[str, ...], words: tuple[str, ...]) -> bool:
    match pattern:
        case ():
            return not words
        case ("#", *rest):
            return any(_fits(tuple(rest), words[skipped:]) for skipped in range(len(words) + 1))
        case (first, *rest):
            return bool(words) and first in ("*", words[0]) and _fits(tuple(rest), words[1:])
    raise AssertionError(pattern)
