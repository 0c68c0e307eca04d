"""kill -9 of the signer before and after each of its durable writes: one answer to one question, no two alternatives.

After each kill the requests that were not acked are delivered again, as the broker does it, and at last all of them.
"""

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bridge.wire.body import SignRequestBody
from tests.signing.given import ask, close, deposit, hash_of, update

ROOT = Path(__file__).parents[2]
KILLED = -9
MOST_KILLS = 40

Story = tuple[SignRequestBody, ...]
STORY: Story = (
    ask("a.1", update(7)),
    ask("a.2", update(7, 1)),  # refused: the first stands
    ask("a.3", update(7, 1), update(7)),  # replaces it
    ask("a.4", close(10, 20)),
    ask("a.5", deposit(8, 5)),
    ask("a.6", deposit(8, 6), deposit(8, 5)),
    ask("a.7", update(8, 3), network="ae_nowhere"),  # refused by the policy
    ask("a.8", update(9)),
)
REFUSED = {"a.2": "guard_conflict", "a.7": "policy_denied"}
ALTERNATIVES = ((update(7), update(7, 1)), (deposit(8, 5), deposit(8, 6)))


class Victim:
    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.signing.victim"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def live(self, directory: Path, requests: Story, side: str, number: int) -> int:
        told: list[Any] = [request.model_dump(mode="json", by_alias=True) for request in requests]
        trial = {"directory": str(directory / "data"), "out": str(directory / "out"), "requests": told}
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(trial | {"side": side, "number": number}), file=self.process.stdin, flush=True)
        return int(self.process.stdout.readline())


@pytest.fixture(scope="module")
def victim() -> Iterator[Victim]:
    made = Victim()
    with made.process:
        yield made
        assert made.process.stdin is not None
        made.process.stdin.close()


@dataclass
class Heard:
    """What left the process over all its lives."""

    replies: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    acked: set[str] = field(default_factory=set)
    order: list[dict[str, Any]] = field(default_factory=list)
    """The replies as they were first given."""
    commits: int = 0


def hear(directory: Path) -> Heard:
    heard = Heard()
    out = directory / "out"
    for line in out.read_text().splitlines() if out.exists() else ():
        word, _, rest = line.partition(" ")
        if word == "sent":
            request, _, body = rest.partition(" ")
            if not heard.replies[request]:
                heard.order.append(json.loads(body))
            heard.replies[request].add(body)
        elif word == "ack":
            heard.acked.add(rest)
        elif word == "end":
            heard.commits = int(rest)
    return heard


def judge(story: Story, heard: Heard) -> None:
    """Every question has one answer; of two alternatives the second was signed only with the word that it replaces."""
    asked = {request.sign_request_id: request.decoded.hash for request in story}
    assert {request: len(bodies) for request, bodies in heard.replies.items()} == dict.fromkeys(asked, 1)
    signed = {asked[body["sign_request_id"]]: body.get("replaces", []) for body in heard.order if "signature" in body}
    for first, second in ALTERNATIVES:
        if hash_of(second) in signed:
            assert hash_of(first) in signed[hash_of(second)]
    refused = {body["sign_request_id"]: body["refusal"]["code"] for body in heard.order if "refusal" in body}
    assert refused == {request: code for request, code in REFUSED.items() if request in asked}


def endure(victim: Victim, directory: Path, story: Story, side: str, number: int, *, again: bool) -> int:
    """Kills at the N-th commit, once or in every life, redelivers, judges. How many lives ended by a kill."""
    kills = 0
    while True:
        acked = hear(directory).acked
        left = tuple(request for request in story if request.sign_request_id not in acked)
        if victim.live(directory, left, side, number if again or not kills else 0) != KILLED:
            break
        kills += 1
        assert kills < MOST_KILLS, "it does not get on"
    assert victim.live(directory, story, "never", 0) == 0
    judge(story, hear(directory))
    return kills


def sweep(victim: Victim, directory: Path, story: Story) -> int:
    """Each durable write, before it and after it. How many writes there are."""
    (directory / "count").mkdir()
    assert victim.live(directory / "count", story, "never", 0) == 0
    commits = hear(directory / "count").commits
    for side in ("before", "after"):
        for number in range(1, commits + 1):
            place = directory / f"{side}-{number}"
            place.mkdir()
            assert endure(victim, place, story, side, number, again=False) == 1, (side, number)
    return commits


def test_signer_that_is_killed_at_any_write_gives_one_answer_and_no_two_alternatives(
    victim: Victim, tmp_path: Path
) -> None:
    """A signature, a refusal and a replacement: two writes for a signature, one for a refusal."""
    assert sweep(victim, tmp_path, STORY[:3]) == 2 + 1 + 2


@pytest.mark.fault
def test_signer_that_is_killed_at_any_write_of_a_longer_story(victim: Victim, tmp_path: Path) -> None:
    """Closes, deposits and other rounds besides."""
    assert sweep(victim, tmp_path, STORY) == 6 * 2 + 2


@pytest.mark.parametrize("number", [2, 3])
def test_signer_that_dies_again_and_again_gets_on(victim: Victim, tmp_path: Path, number: int) -> None:
    """A crash loop: every life ends at the same write, and each gets a little further."""
    assert endure(victim, tmp_path, STORY, "after", number, again=True) > 1
