"""Breaks the code on purpose, one rule at a time, and sees the tests notice: `make mutants`.

Each mutant is a change a tired person might make. It is made in a copy of the tree, and one named test must fail
there that passes here. `python -m tests.mutants --page` writes the list to docs/mutants.md; a test keeps list, code
and page together.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "mutants.md"
COPIED = ("bridge", "tests", "docs", "tools", "pyproject.toml", "README.md")
SECONDS = 300.0
FAILED = 1
"""pytest's exit code for a failed test; any other is no proof."""


@dataclass(frozen=True, slots=True)
class Mutant:
    name: str
    path: str
    old: str
    new: str
    test: str


MUTANTS = (
    Mutant(
        "drop one commit's fsync",
        "bridge/journal/writer.py",
        'self._connection.execute("BEGIN IMMEDIATE")',
        'self._connection.execute("PRAGMA synchronous=OFF"); self._connection.execute("BEGIN IMMEDIATE")',
        "tests/journal/test_fsync.py::test_each_commit_is_written_through_before_it_returns",
    ),
    Mutant(
        "make no commit durable",
        "bridge/journal/connection.py",
        'connection.execute("PRAGMA synchronous=FULL")',
        'connection.execute("PRAGMA synchronous=NORMAL")',
        "tests/journal/test_connection.py",
    ),
    Mutant(
        "swap F4 and the send: perform before the commit",
        "bridge/app/worker.py",
        "        rows = await self._journal.commit(batch)\n"
        "        self._contract.settle(draft)\n        before, self.state = self.state, state\n",
        "        await self._perform(effects, input_, arrived_at)\n        rows = await self._journal.commit(batch)\n"
        "        self._contract.settle(draft)\n        before, self.state, effects = self.state, state, ()\n",
        "tests/system/test_commit_first.py::test_what_could_not_be_stored_has_not_happened[F4]",
    ),
    Mutant(
        "resend a signed reply after a reconnect",
        "bridge/channel/settlement.py",
        "    if half is not None and operation.transaction is not None and half.hash == operation.transaction.hash:\n",
        "    if operation.transaction is not None:\n"
        "        from bridge.channel.request import SendSignature\n"
        "        signed = operation.transaction.text\n"
        "        turn = turn.tell(lambda r: SendSignature(r, OWN_TAGS[type(operation.command)], signed))\n"
        "    if half is not None and operation.transaction is not None and half.hash == operation.transaction.hash:\n",
        "tests/channel/test_attach.py::test_a_signed_reply_is_not_sent_again_after_a_reconnect",
    ),
    Mutant(
        "treat conflict code 3 as failed",
        "bridge/channel/attempt.py",
        "    if conflicted.code == TIMEOUT_CODE:\n",
        "    if False:\n",
        "tests/channel/test_step.py::test_a_timeout_after_our_signature_is_in_doubt_never_failed",
    ),
    Mutant(
        "ack a command before it is journaled",
        "bridge/app/intake.py",
        "        received = delivery.received\n        try:\n            channel, command = read_command(",
        "        await delivery.ack()\n        received = delivery.received\n        try:\n"
        "            channel, command = read_command(",
        "tests/system/test_commit_first.py::test_what_could_not_be_stored_has_not_happened[F1]",
    ),
    Mutant(
        "ignore a returned publish",
        "bridge/broker/publisher.py",
        '            raise Unroutable(f"no queue takes {envelope.routing_key} of {envelope.exchange}") from error\n',
        "            return Basic.Ack()\n",
        "tests/broker/test_publisher.py::test_unroutable_envelope_raises",
    ),
    Mutant(
        "remove the epoch check from the writes",
        "bridge/journal/writer.py",
        "        self._guard(self._connection)\n",
        "",
        "tests/journal/test_journal.py::test_an_older_owner_writes_nothing_after_a_newer_one_has_begun",
    ),
    Mutant(
        "de-duplicate by id only",
        "bridge/app/intake.py",
        "        if known.body_hash != digest:\n",
        "        if False:\n",
        "tests/system/test_bad_input.py::test_a_repeated_id_with_another_body_is_refused",
    ),
    Mutant(
        "forget the dedupe row after success",
        "bridge/app/intake.py",
        "        if known is not None:\n",
        '        if known is not None and known.status != "succeeded":\n',
        "tests/system/test_bad_input.py::test_a_repeated_id_gets_the_stored_outcome",
    ),
    Mutant(
        "wall clock for deadlines",
        "bridge/app/clock.py",
        "        return self._offset + _elapsed()\n",
        "        return time.time()\n",
        "tests/app/test_clock.py::test_a_wall_clock_that_jumps_moves_no_deadline",
    ),
    Mutant(
        "reconnect without storing the credential first",
        "bridge/channel/attach.py",
        "        turn = turn.do(KeepFsmId(info.fsm_id))\n",
        "        pass\n",
        "tests/channel/test_attach.py::test_a_new_credential_means_waiting_until_both_sides_are_back",
    ),
    Mutant(
        "skip the probe",
        "bridge/channel/settlement.py",
        "    return probe(turn, OWN_TAGS[type(operation.command)])\n",
        "    return void(turn, operation)\n",
        "tests/channel/test_attach.py::test_a_lost_sign_request_is_voided_by_a_probe_and_asked_again",
    ),
    Mutant(
        "answer an acknowledgement after its deadline",
        "bridge/channel/signature.py",
        " or turn.now >= opened.deadline:\n        return False\n",
        ":\n        return False\n",
        "tests/channel/test_step.py::test_a_reply_at_the_deadline_is_late_even_before_the_clock_ticked",
    ),
    Mutant(
        "send an acknowledgement a slow disk made late",
        "bridge/app/worker.py",
        "if not_after is not None and self._clock() >= not_after:",
        "if False:",
        "tests/system/test_late_disk.py::test_an_acknowledgement_stored_after_its_deadline_is_not_sent",
    ),
    Mutant(
        "float for amounts",
        "bridge/channel/command.py",
        "        return int(value)\n    if isinstance(value, int)",
        "        return int(float(value))\n    if isinstance(value, int)",
        "tests/wire/test_incoming.py::test_amount_of_many_digits_is_kept_to_the_last",
    ),
    Mutant(
        "take an old conflict for evidence about a new signature",
        "bridge/channel/settlement.py",
        "    return newer[: max(0, len(newer) - turn.state.conflicts)]\n",
        "    return newer\n",
        "tests/channel/test_recovery.py::test_conflicts_that_were_told_are_not_evidence_for_a_later_signature",
    ),
    Mutant(
        "sign a second time for one round without evidence against the first",
        "bridge/channel/operation.py",
        "    return turn.do(Abandon(held.round, held.hash, command_id, evidence, is_exposed))\n",
        "    return turn\n",
        "tests/channel/test_recovery.py::test_a_retried_attempt_is_abandoned_on_the_nodes_word",
    ),
    Mutant(
        "allow what the policy does not name",
        "bridge/channel/policy.py",
        "    if command.kind not in policy.commands:\n",
        "    if False:\n",
        "tests/channel/test_policy.py::test_without_a_policy_no_command_runs",
    ),
    Mutant(
        "begin a payment without counting it",
        "bridge/channel/operation.py",
        "    turn = turn.set(outflow=turn.state.outflow.hold(key, amount))\n",
        "",
        "tests/channel/test_policy.py::test_an_hours_outflow_is_not_passed_and_comes_free_after_an_hour",
    ),
    Mutant(
        "make room again for what failed and may still be used",
        "bridge/channel/policy.py",
        "        *(command_key(exposure.command_id) for exposure in state.exposures),\n",
        "",
        "tests/channel/test_policy.py::test_what_failed_with_exposure_stays_counted_and_ages_only_once_it_is_cleared",
    ),
    Mutant(
        "forget at a start what went out",
        "bridge/app/service.py",
        "        state = State() if stored is None else decode(stored)\n",
        "        from dataclasses import replace\n\n"
        "        state = State() if stored is None else replace(decode(stored), outflow=State().outflow)\n",
        "tests/system/test_limit.py::test_a_hundred_at_once_cannot_pass_an_hourly_limit",
    ),
    Mutant(
        "forward without asking the policy again",
        "bridge/channel/attempt.py",
        "            denied = deny_forward(turn, opened)\n",
        "            denied = None\n",
        "tests/channel/test_policy.py::test_a_policy_made_stricter_holds_a_signature_back",
    ),
    Mutant(
        "count the requester's own approval",
        "bridge/channel/approval.py",
        "    if given.author == approval.requester:\n",
        "    if False:\n",
        "tests/channel/test_approval.py::test_nobody_approves_his_own_command",
    ),
    Mutant(
        "count the approval of another body hash",
        "bridge/channel/approval.py",
        "    if given.body_hash != approval.body_hash:\n",
        "    if False:\n",
        "tests/channel/test_approval.py::test_an_approval_of_another_hash_does_not_count",
    ),
    Mutant(
        "count an approver the policy does not name",
        "bridge/channel/approval.py",
        "    if given.author not in policy.approvers:\n",
        "    if False:\n",
        "tests/channel/test_approval.py::test_an_approver_the_policy_does_not_name_counts_for_nothing",
    ),
    Mutant(
        "take a signature for a request that waits for approvals",
        "bridge/channel/signature.py",
        "    if not opened.is_asked:\n        return False",
        "    if False:\n        return False",
        "tests/channel/test_approval.py::test_a_signature_nobody_asked_for_goes_nowhere",
    ),
)

_HEAD = """\
# Mutants

Made by `python -m tests.mutants --page`; do not edit. `make mutants` makes each of these changes in a copy of the tree
and sees the named test fail.

| change | where | the test that fails |
| --- | --- | --- |
"""


def page() -> str:
    rows = [f"| {mutant.name} | `{mutant.path}` | `{mutant.test}` |\n" for mutant in MUTANTS]
    return _HEAD + "".join(rows)


def is_caught(mutant: Mutant) -> bool:
    """Whether the test fails on the mutant, for its own reasons: a failed test, not a broken run."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        copy = Path(folder)
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
            else:
                shutil.copy(source, copy / name)
        path = copy / mutant.path
        path.write_text(path.read_text().replace(mutant.old, mutant.new, 1))
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", mutant.test]
        done = subprocess.run(  # our own words
            command, cwd=copy, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        if done.returncode != FAILED:
            print(done.stdout[-2000:], done.stderr[-2000:])
        return done.returncode == FAILED


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", action="store_true", help="write docs/mutants.md and end")
    parser.add_argument("--only", default="", help="only mutants with this text in their name")
    options = parser.parse_args()
    if options.page:
        PAGE.write_text(page())
        return 0
    chosen = [mutant for mutant in MUTANTS if options.only in mutant.name]
    alive = []
    for mutant in chosen:
        caught = is_caught(mutant)
        print(f"{'caught' if caught else 'ALIVE '}  {mutant.name}  ({mutant.test})", flush=True)
        alive += [] if caught else [mutant.name]
    print(f"mutants: {'ok' if not alive else 'FAILED'}  caught {len(chosen) - len(alive)} of {len(chosen)}")
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main())
