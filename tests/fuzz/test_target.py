"""The targets of `make fuzz`, over their own seeds and over drawn damage; and what counts as a finding."""

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.wire import encoding
from bridge.wire.transaction import attach
from tests.fuzz import target
from tests.fuzz.__main__ import judge
from tests.fuzz.target import ASKED, OWN_KEY, TARGETS, signature

REFUSED = {"reply": 7, "command": 2}
"""So many seeds of a target are there to be refused; all others are accepted."""


@cache
def seeds(name: str) -> list[bytes]:
    return list(TARGETS[name].seeds())


@pytest.mark.parametrize("name", TARGETS)
def test_fuzzing_begins_with_what_is_accepted(name: str) -> None:
    """From refused inputs alone a fuzzer would never get past the first check."""
    begun_with = seeds(name)
    assert begun_with
    assert max(map(len, begun_with)) <= TARGETS[name].max_bytes
    assert [TARGETS[name].feed(seed) for seed in begun_with].count(False) == REFUSED.get(name, 0)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_damage_is_refused_and_nothing_else_happens(name: str, data: st.DataObject) -> None:
    """Bytes replaced, removed and doubled: the promises of the target hold."""
    text = bytearray(data.draw(st.sampled_from(seeds(name))))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text)))
        gone = data.draw(st.integers(0, 3))
        text[at : at + gone] = data.draw(st.binary(max_size=3))
    TARGETS[name].feed(bytes(text))


def test_an_accepted_change_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The promise itself is looked at: a check that lets everything pass is told."""
    other = encoding.decode(attach(ASKED, bytes(64)), "tx")
    assert TARGETS["reply"].feed(other) is False
    monkeypatch.setattr(target, "check_reply", lambda asked, text, *rest: text)
    with pytest.raises(AssertionError):
        TARGETS["reply"].feed(other)
    assert TARGETS["reply"].feed(encoding.decode(attach(ASKED, signature(OWN_KEY)), "tx"))


SAID = """\
#9 INITED cov: 300 ft: 310 corp: 8/1024b exec/s: 0 rss: 60Mb
#128 pulse  cov: 310 ft: 320 corp: 9/1024b lim: 100 exec/s: 64 rss: 61Mb
#1000 DONE   cov: 320 ft: 330 corp: 10/1100b lim: 100 exec/s: 500 rss: 62Mb
Done 1000 runs in 2 second(s)
"""


@pytest.mark.parametrize(
    ("said", "code", "wanted", "wrong"),
    [
        (SAID, 0, 1000, ""),
        (SAID, 77, 1000, "exit code 77"),
        (SAID, 0, 1001, "1001 cases were asked for"),
        (SAID.replace("62Mb", "162Mb"), 0, 1000, "memory grows"),
        ("ImportError: atheris", 1, 1000, "it never began (exit code 1)"),
    ],
)
def test_what_counts_as_a_finding(said: str, code: int, wanted: int, wrong: str) -> None:
    """A run that stopped early, or kept what it should forget, is not a good one."""
    ended = judge("reply", said, code, wanted)
    assert ended.wrong == wrong
    assert (ended.cases, ended.early_mib) in {(1000, 61), (0, 0)}
