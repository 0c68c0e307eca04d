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
        "begin anew a journal that is gone",
        "bridge/journal/owner.py",
        "    if is_gone(file, is_made=is_made(lock)):\n",
        "    if False:\n",
        "tests/journal/test_damage.py::test_a_journal_that_is_gone_is_not_begun_anew",
    ),
    Mutant(
        "let the directory go while a start that was given up goes on",
        "bridge/journal/journal.py",
        "            await _abandon(work)\n",
        "",
        "tests/journal/test_owner.py::test_a_start_that_is_given_up_ends_before_the_lock_goes",
    ),
    Mutant(
        "migrate before the key is checked",
        "bridge/journal/connection.py",
        "                _check_key(writing, seal)\n",
        "                migrate(writing)\n                _check_key(writing, seal)\n",
        "tests/journal/test_connection.py::test_another_key_migrates_nothing",
    ),
    Mutant(
        "believe the clock when ids are forgotten",
        "bridge/journal/prune.py",
        "received_at < min(?,",
        "received_at < max(?,",
        "tests/journal/test_journal.py::test_a_clock_far_ahead_makes_no_id_forgotten",
    ),
    Mutant(
        "forget that ids were forgotten",
        "bridge/app/intake.py",
        "        self._check_memory(command)\n",
        "",
        "tests/app/test_intake.py::test_what_may_have_been_forgotten_is_not_accepted_again",
    ),
    Mutant(
        "begin anew a signer's record that is gone",
        "bridge/signing/store.py",
        "            if is_gone(self._file, is_made=is_made(held)):\n",
        "            if False:\n",
        "tests/signing/test_store.py::test_record_that_is_gone_is_not_begun_anew",
    ),
    Mutant(
        "let the signer sign a second transaction for a round",
        "bridge/signing/guard.py",
        "        if standing:\n",
        "        if False:\n",
        "tests/signing/test_guard.py::test_alternative_is_refused_and_both_hashes_are_named",
    ),
    Mutant(
        "let the signer forget what it was about to sign",
        "bridge/signing/guard.py",
        "        self._store.add_signed(claim.account, claim.slot, claim.hash, claim.request, at)\n",
        "",
        "tests/signing/test_guard.py::test_what_was_about_to_be_signed_counts_after_a_crash",
    ),
    Mutant(
        "let the signer forget rounds for a claim alone",
        "bridge/signing/guard.py",
        "            self._check_height(claim)\n",
        "            self._check_height(claim)\n"
        "            self._store.forget_rounds(claim.account, claim.slot.channel, claim.slot.number - KEPT_ROUNDS)\n",
        "tests/signing/test_guard.py::test_a_far_round_that_is_refused_makes_nothing_forgotten",
    ),
    Mutant(
        "let the signer answer before the answer is stored",
        "bridge/signing/guard.py",
        "        self._store.add_reply(answer.account, answer.request, answer.asked, answer.body, at)\n",
        "",
        "tests/signing/test_guard.py::test_refusal_stands_when_the_policy_allows_it_later",
    ),
    Mutant(
        "let the signer try a reply once",
        "bridge/app/signer.py",
        '        async for attempt in backoff(lambda error: log.warning("reply_not_published", '
        'extra={"error": error})):\n'
        "            with attempt:\n                await publisher.publish(envelope)\n",
        "        from bridge.errors import BrokerUnavailable\n        try:\n"
        "            await publisher.publish(envelope)\n        except BrokerUnavailable:\n"
        '            log.warning("reply_not_published")\n            return\n',
        "tests/signing/test_service.py::test_a_reply_the_broker_does_not_take_comes_later",
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
        "    half, signed = found.half_signed, operation.transaction\n",
        "    half, signed = found.half_signed, operation.transaction\n"
        "    if signed is not None:\n"
        "        from bridge.channel.request import SendSignature\n"
        "        again = signed.text\n"
        "        turn = turn.tell(lambda r: SendSignature(r, OWN_TAGS[type(operation.command)], again))\n",
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
        "        received = delivery.received\n        try:\n"
        "            plain = unfold(received)\n            known = await self._find(plain)\n",
        "        await delivery.ack()\n        received = delivery.received\n        try:\n"
        "            plain = unfold(received)\n            known = await self._find(plain)\n",
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
        "        if known.body_hash != body_hash(received):\n",
        "        if False:\n",
        "tests/system/test_bad_input.py::test_a_repeated_id_with_another_body_is_refused",
    ),
    Mutant(
        "forget the dedupe row after success",
        "bridge/app/intake.py",
        "            if known is None:\n",
        '            if known is None or known.status == "succeeded":\n',
        "tests/system/test_bad_input.py::test_a_repeated_id_gets_the_stored_outcome",
    ),
    Mutant(
        "judge a repeat by the rules for new commands",
        "bridge/app/intake.py",
        "            known = await self._find(plain)\n",
        "            now = datetime.fromtimestamp(self._desk.clock(), UTC)\n"
        "            read_command(plain, channels=self._desk.workers, now=now)\n"
        "            known = await self._find(plain)\n",
        "tests/app/test_intake.py::test_a_repeat_is_known_whatever_has_become_of_its_channel",
    ),
    Mutant(
        "let nobody hear that the broker refuses us",
        "bridge/app/service.py",
        '                group.create_task(bus.refused(), name="refusals"),\n',
        "",
        "tests/system/test_refused.py::test_a_bridge_that_may_not_publish_any_more_ends_and_says_so",
    ),
    Mutant(
        "leave the library what it cannot decode",
        "bridge/broker/connection.py",
        "decoding.install()\n",
        "",
        "tests/broker/test_decoding.py::test_what_no_decoder_understands_costs_no_connection",
    ),
    Mutant(
        "sign what may have been smuggled in behind unreadable headers",
        "bridge/wire/incoming.py",
        "    check_headers(received)\n",
        "",
        "tests/wire/test_incoming.py::test_a_sign_request_with_unreadable_headers_is_refused",
    ),
    Mutant(
        "give commands to several consumers in turn",
        "bridge/broker/topology.py",
        " | _IN_ORDER)",
        ")",
        "tests/broker/test_topology.py::test_commands_have_one_active_consumer_and_nothing_else_has",
    ),
    Mutant(
        "close the consumers under what is being stored",
        "bridge/app/service.py",
        "HAND_SECONDS = 1.0\n",
        "HAND_SECONDS = 0.0\n",
        "tests/system/test_stop.py::test_a_command_that_is_being_stored_is_acked_before_the_end",
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
        "    return [entry for entry in history.conflicts if entry[2] > turn.state.conflict_mark]\n",
        "    return list(history.conflicts)\n",
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
        "count told conflicts for longer than the node remembers them",
        "bridge/channel/step.py",
        "    turn = settlement.count_again(turn)\n",
        "",
        "tests/channel/test_recovery.py::test_conflicts_that_were_told_hide_none_that_was_missed",
    ),
    Mutant(
        "wait for ever for a proposal that was signed twice",
        "bridge/channel/state.py",
        "        return self.given if self.settling is None else (self.settling, *self.given)\n",
        "        return self.given if self.settling is None else (*self.given, self.settling)\n",
        "tests/channel/test_recovery.py::test_a_proposal_signed_again_after_a_gap_holds_nothing_up_once_it_is_co_signed",
    ),
    Mutant(
        "let a doubt hold the channel against the peer's payments",
        "bridge/channel/proposal.py",
        "        beyond_line = False\n",
        "        pass\n",
        "tests/channel/test_recovery.py::test_the_peers_next_payment_settles_what_is_in_doubt",
    ),
    Mutant(
        "go past a doubt without a record of it",
        "bridge/channel/operation.py",
        "    return abandon(turn, operation, evidence).set_operation(is_passed=True)\n",
        "    return turn.set_operation(is_passed=True)\n",
        "tests/channel/test_recovery.py::test_the_peers_next_payment_settles_what_is_in_doubt",
    ),
    Mutant(
        "go past what may be on its way to the chain",
        "bridge/channel/operation.py",
        "    can_pass = is_off_chain and not operation.is_half_signed and not terms.dialect.is_legacy\n",
        "    can_pass = not operation.is_half_signed and not terms.dialect.is_legacy\n",
        "tests/channel/test_recovery.py::test_other_doubts_wait_for_their_own_evidence",
    ),
    Mutant(
        "go past what the node holds half-signed",
        "bridge/channel/operation.py",
        "    can_pass = is_off_chain and not operation.is_half_signed and not terms.dialect.is_legacy\n",
        "    can_pass = is_off_chain and not terms.dialect.is_legacy\n",
        "tests/channel/test_one_truth.py::test_nothing_goes_past_what_the_node_holds_half_signed",
    ),
    Mutant(
        "go past a doubt before the node was asked",
        "bridge/channel/operation.py",
        "        return is_passable(terms, operation) and not state.split_round and _is_asked(state)\n",
        "        return is_passable(terms, operation) and not state.split_round\n",
        "tests/channel/test_one_truth.py::test_nothing_goes_past_a_doubt_before_the_node_was_asked",
    ),
    Mutant(
        "learn nothing from what a silent node builds on",
        "bridge/channel/step.py",
        "    turn = agreement.infer(turn, requested.transaction)\n",
        "",
        "tests/channel/test_one_truth.py::test_a_request_two_rounds_ahead_shows_the_state_whose_report_was_lost",
    ),
    Mutant(
        "take a request that comes twice for two",
        "bridge/channel/attempt.py",
        "    if is_own(operation, requested.tag) and _is_with_signer(turn, requested):\n",
        "    if False:\n",
        "tests/channel/test_one_truth.py::test_the_same_request_twice_is_one_request",
    ),
    Mutant(
        "shut out a peer that has timed out",
        "bridge/channel/step.py",
        "    return attempt.let_return(turn) if conflicted.code == attempt.TIMEOUT_CODE else turn\n",
        "    return turn\n",
        "tests/channel/test_recovery.py::test_after_a_timeout_the_peer_may_come_back_before_the_next_trigger",
    ),
    Mutant(
        "go on where the peer stands a round above",
        "bridge/channel/loss.py",
        "    turn = turn.set(split_round=conflicted.round)\n",
        "",
        "tests/channel/test_one_truth.py::test_the_line_waits_where_the_peer_stands_a_round_above",
    ),
    Mutant(
        "count one co-signed state for two commands",
        "bridge/channel/attempt.py",
        "    if is_owner:\n        return succeed(give_way",
        "    if any(held.hash == transaction.hash for held in operation.handed_over):\n        return succeed(give_way",
        "tests/channel/test_one_truth.py::test_two_payments_of_one_amount_are_not_both_succeeded_by_one_state",
    ),
    Mutant(
        "count one co-signed state for a command and a proposal",
        "bridge/channel/proposal.py",
        "    if settling.tag.is_opening or is_owned:\n",
        "    if settling.tag.is_opening:\n",
        "tests/channel/test_one_truth.py::test_a_payment_of_the_peers_with_the_bytes_of_ours_moves_once",
    ),
    Mutant(
        "take what an operator vouched for as a stranger's",
        "bridge/channel/resolution.py",
        "        return succeed(_vouch(turn), data=data)\n",
        "        return succeed(turn, data=data)\n",
        "tests/channel/test_one_truth.py::test_a_state_an_operator_vouched_for_is_no_strangers",
    ),
    Mutant(
        "take a close by one side for one by both",
        "bridge/channel/ending.py",
        "    if final is not None and final.kind is Kind.SETTLE:\n",
        "    if False:\n",
        "tests/channel/test_one_truth.py::test_a_solo_close_with_the_doubtful_state_has_applied_it",
    ),
    Mutant(
        "call void what was signed for the chain",
        "bridge/channel/settlement.py",
        "    if purpose is not Purpose.RECHECK and not _may_be_mined(turn, purpose):\n",
        "    if purpose is not Purpose.RECHECK:\n",
        "tests/channel/test_one_truth.py::test_what_we_signed_for_the_chain_is_outstanding_over_a_gap",
    ),
    Mutant(
        "believe that a close by one side used no state told as failed",
        "bridge/channel/ending.py",
        "for told in (*state.exposures, *state.vouched) if told.nonce is None]\n",
        "for told in state.vouched if told.nonce is None]\n",
        "tests/channel/test_one_truth.py::test_a_solo_close_with_what_was_told_as_failed_corrects_that",
    ),
    Mutant(
        "explain a close by one side with any round",
        "bridge/channel/ending.py",
        "if held.round == state.round + 1 and moved == change), None)\n",
        "if moved == change), None)\n",
        "tests/channel/test_one_truth.py::test_a_solo_close_is_explained_by_the_next_round_only",
    ),
    Mutant(
        "believe the clock of the process before for a deadline",
        "bridge/channel/signature.py",
        "deadline=min(earlier.deadline, began + seconds)\n",
        "deadline=earlier.deadline\n",
        "tests/channel/test_attach.py::test_a_request_that_is_resumed_is_due_no_later_than_a_new_one",
    ),
    Mutant(
        "count the time of a stop as tried in vain",
        "bridge/channel/attach.py",
        "        tried_from=now if is_untried else min(state.tried_from, now),\n",
        "        tried_from=min(state.tried_from, now),\n",
        "tests/channel/test_attach.py::test_an_outage_in_which_nobody_tried_begins_with_the_start",
    ),
    Mutant(
        "begin an outage anew with each start",
        "bridge/channel/attach.py",
        "    is_untried = state.attachment is Attachment.DOWN and state.down_since is not None and "
        "not state.failed_attaches\n",
        "    is_untried = True\n",
        "tests/channel/test_attach.py::test_a_crash_in_an_outage_does_not_begin_it_anew",
    ),
    Mutant(
        "wait out a silence for ever",
        "bridge/channel/attach.py",
        "    is_owed = quiet > CLOSED_SECONDS and turn.state.failed_attaches <= ALARM_ATTEMPTS\n",
        "    is_owed = quiet > CLOSED_SECONDS\n",
        "tests/channel/test_attach.py::test_sockets_that_are_taken_and_cut_call_somebody_in_the_end",
    ),
    Mutant(
        "believe a memory that is cut off",
        "bridge/channel/settlement.py",
        "    if not missed or TIMEOUT_CODE in missed or not is_whole:\n",
        "    if not missed or TIMEOUT_CODE in missed:\n",
        "tests/channel/test_one_truth.py::test_a_memory_that_is_cut_off_proves_nothing",
    ),
    Mutant(
        "count a proposal's time from when it is its turn",
        "bridge/channel/signature.py",
        "    began = turn.now if requested.arrived_at is None else min(turn.now, requested.arrived_at)\n",
        "    began = turn.now\n",
        "tests/channel/test_one_truth.py::test_a_proposal_is_due_from_when_its_frame_came",
    ),
    Mutant(
        "count a proposal's time from when it is read",
        "bridge/app/worker.py",
        "        self._items.put_nowait(Text(text, self._clock() - waited))\n",
        "        self._items.put_nowait(Text(text, self._clock()))\n",
        "tests/app/test_line.py::test_what_waited_at_the_node_counts_from_when_it_can_have_been_sent",
    ),
    Mutant(
        "call a flood read at the first pong",
        "bridge/node/pace.py",
        "        self._since = None if asked_at >= self._paused_until else asked_at\n",
        "        self._since = None\n",
        "tests/node/test_pace.py::test_a_pong_shows_how_far_the_reading_is",
    ),
    Mutant(
        "never ask how far a flood is read",
        "bridge/node/link.py",
        "            life.paused.set()\n",
        "",
        "tests/node/test_pace.py::test_no_frame_is_older_than_is_told",
    ),
    Mutant(
        "keep whatever a peer refuses for ever",
        "bridge/channel/exposure.py",
        "    return isinstance(command, Transfer) and len(exposures) >= MOST_EXPOSURES\n",
        "    return False\n",
        "tests/channel/test_recovery.py::test_a_peer_that_refuses_each_signature_does_not_fill_the_state_for_ever",
    ),
    Mutant(
        "tell nobody that an exchange may not be written to",
        "bridge/app/relay.py",
        "            if isinstance(error, Unroutable | Nacked | BrokerRefused):\n",
        "            if isinstance(error, Unroutable | Nacked):\n",
        "tests/app/test_relay.py::test_a_refused_row_raises_one_alarm_and_stays",
    ),
    Mutant(
        "settle one doubt of several",
        "bridge/channel/agreement.py",
        "    for operation in parked:\n",
        "    for operation in parked[-1:]:\n",
        "tests/channel/test_recovery.py::test_one_state_settles_every_doubt_before_it",
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
    Mutant(
        "show a signer another kind of transaction than the tag says",
        "bridge/channel/check.py",
        '        _differs("the kind of transaction", transaction.kind, KINDS[requested.tag]),\n',
        "",
        "tests/checks/test_before_a_sign_request.py::test_what_our_command_did_not_ask_for_is_shown_to_no_signer",
    ),
    Mutant(
        "show a signer a transaction of another channel",
        "bridge/channel/check.py",
        "        _check_channel(state, requested),\n",
        "",
        "tests/checks/test_before_a_sign_request.py::test_what_our_command_did_not_ask_for_is_shown_to_no_signer",
    ),
    Mutant(
        "show a signer another round than the next",
        "bridge/channel/check.py",
        "        _check_round(state, transaction),\n",
        "",
        "tests/checks/test_before_a_sign_request.py::test_what_our_command_did_not_ask_for_is_shown_to_no_signer",
    ),
    Mutant(
        "show a signer what nobody or a stranger has signed first",
        "bridge/channel/check.py",
        "        None if requested.signers == expected else",
        "        None if True else",
        "tests/checks/test_before_a_sign_request.py::test_a_proposal_without_exactly_the_peers_valid_signature_is_shown_to_no_signer",
    ),
    Mutant(
        "show a signer another amount than was commanded",
        "bridge/channel/check.py",
        '        _differs("the amount", found.amount, amount),\n',
        "",
        "tests/checks/test_before_a_sign_request.py::test_what_our_command_did_not_ask_for_is_shown_to_no_signer",
    ),
    Mutant(
        "show a signer a payment in the other direction",
        "bridge/channel/check.py",
        '        _differs("the sender", found.from_account, sender) if sender is not None else None,\n'
        '        _differs("the receiver", found.to_account, receiver) if receiver is not None else None,\n',
        "",
        "tests/checks/test_before_a_sign_request.py::test_what_our_command_did_not_ask_for_is_shown_to_no_signer",
    ),
    Mutant(
        "show a signer an update with a second operation",
        "bridge/channel/check.py",
        "    if len(operations) != 1:\n",
        "    if not operations:\n",
        "tests/checks/test_before_a_sign_request.py::test_what_our_command_did_not_ask_for_is_shown_to_no_signer",
    ),
    Mutant(
        "show a signer meta texts that were not sent",
        "bridge/channel/check.py",
        "    return None if found in ((), sent) else",
        "    return None if True else",
        "tests/checks/test_before_a_sign_request.py::test_what_our_command_did_not_ask_for_is_shown_to_no_signer",
    ),
    Mutant(
        "show a signer any fee",
        "bridge/channel/check.py",
        '    return f"the fee is {fee}, above {terms.policy.max_fee}" if fee > terms.policy.max_fee else None\n',
        "    return None\n",
        "tests/checks/test_before_a_sign_request.py::test_what_our_command_did_not_ask_for_is_shown_to_no_signer",
    ),
    Mutant(
        "show a signer another deposit than was commanded",
        "bridge/channel/check.py",
        '                _differs("the amount", transaction.amount, command.amount),\n',
        "",
        "tests/checks/test_before_a_sign_request.py::test_what_our_command_did_not_ask_for_is_shown_to_no_signer",
    ),
    Mutant(
        "show a signer a close with other shares than the balances",
        "bridge/channel/check.py",
        "                check_close(terms, state, transaction, command.fee),\n",
        "",
        "tests/checks/test_before_a_sign_request.py::test_what_our_command_did_not_ask_for_is_shown_to_no_signer",
    ),
    Mutant(
        "show a signer an opening with other parties",
        "bridge/channel/check.py",
        '        _differs("the initiator", transaction.initiator, terms.initiator),\n'
        '        _differs("the responder", transaction.responder, terms.responder),\n',
        "",
        "tests/checks/test_before_a_sign_request.py::test_an_opening_that_says_something_else_is_shown_to_no_signer",
    ),
    Mutant(
        "show a signer an opening with other amounts",
        "bridge/channel/check.py",
        '        _differs("the initiator\'s amount", transaction.initiator_amount, terms.initiator_amount),\n'
        '        _differs("the responder\'s amount", transaction.responder_amount, terms.responder_amount),\n',
        "",
        "tests/checks/test_before_a_sign_request.py::test_an_opening_that_says_something_else_is_shown_to_no_signer",
    ),
    Mutant(
        "show a signer a proposal that says nothing of the balances",
        "bridge/channel/check.py",
        "            unknown = moves(terms, transaction, updates) is None\n",
        "            unknown = False\n",
        "tests/checks/test_before_a_sign_request.py::test_a_proposal_that_is_not_what_its_tag_says_is_shown_to_no_signer",
    ),
    Mutant(
        "forward a reply that holds another transaction",
        "bridge/wire/transaction.py",
        "    if reply.inner != asked.inner:\n",
        "    if False:\n",
        "tests/checks/test_before_forwarding.py::test_a_bad_reply_is_refused_and_the_good_one_afterwards_pays",
    ),
    Mutant(
        "forward a reply that lost or gained signatures",
        "bridge/wire/transaction.py",
        "    if not before <= given or len(given - before) > 1 or len(given) != len(reply.signatures):\n",
        "    if False:\n",
        "tests/checks/test_before_forwarding.py::test_a_bad_second_signature_is_refused_and_the_good_one_afterwards_is_sent",
    ),
    Mutant(
        "forward a signature that verifies for nobody",
        "bridge/wire/transaction.py",
        "    if not verify(signature, inner, account, network_id, forms):\n",
        "    if False:\n",
        "tests/checks/test_before_forwarding.py::test_a_bad_reply_is_refused_and_the_good_one_afterwards_pays",
    ),
    Mutant(
        "take a signature whose S is above the order",
        "bridge/wire/signature.py",
        '    return len(signature) == SIGNATURE_BYTES and int.from_bytes(signature[32:], "little") < ORDER\n',
        "    return len(signature) == SIGNATURE_BYTES\n",
        "tests/checks/test_before_forwarding.py::test_a_bad_reply_is_refused_and_the_good_one_afterwards_pays",
    ),
    Mutant(
        "take a key that anybody can sign for",
        "bridge/wire/signature.py",
        "    return key[:31] + bytes([key[31] & ~_SIGN_BIT]) in _SMALL_ORDER\n",
        "    return False\n",
        "tests/wire/test_transaction.py::test_an_account_anybody_can_sign_for_is_refused",
    ),
    Mutant(
        "read lengths that are not in their shortest form",
        "bridge/wire/rlp.py",
        '        raise _wrong("a length not in its shortest form")\n',
        "        pass\n",
        "tests/wire/test_rlp.py",
    ),
    Mutant(
        "let a signer answer wrongly for ever",
        "bridge/channel/attempt.py",
        "            if opened.bad_replies + 1 < MAX_BAD_REPLIES:\n",
        "            if True:\n",
        "tests/checks/test_before_forwarding.py::test_the_fifth_bad_reply_fails_the_command",
    ),
    Mutant(
        "forget bad replies over a lost link",
        "bridge/channel/signature.py",
        "        return turn.set(suspended=earlier).do(refusal)\n",
        "        return turn.do(refusal)\n",
        "tests/channel/test_recovery.py::test_bad_answers_count_over_a_lost_link",
    ),
    Mutant(
        "hash a row of the audit without the one before",
        "bridge/journal/audit.py",
        "    return sha256(prev + json.dumps",
        "    return sha256(json.dumps",
        "tests/journal/test_audit.py::test_the_hash_is_the_one_the_document_gives",
    ),
    Mutant(
        "overlook an edited row of the audit",
        "bridge/journal/auditcheck.py",
        "        if digest(row.prev, row.values) != row.hash:\n",
        "        if False:\n",
        "tests/journal/test_audit.py::test_an_edit_of_any_field_is_found_at_its_row",
    ),
    Mutant(
        "overlook missing rows of the audit",
        "bridge/journal/auditcheck.py",
        "    if row.seq > before.seq + 1:\n",
        "    if False:\n",
        "tests/journal/test_audit.py::test_removed_rows_are_a_gap_at_the_first_of_them",
    ),
    Mutant(
        "overlook rows of the audit out of place",
        "bridge/journal/auditcheck.py",
        "    elif row.prev != before.hash:\n",
        "    elif False:\n",
        "tests/journal/test_audit.py::test_two_rows_exchanged_are_found_where_the_order_breaks",
    ),
    Mutant(
        "overlook a cut end of the audit",
        "bridge/journal/auditcheck.py",
        "    if count is not None and count > last:\n",
        "    if False:\n",
        "tests/journal/test_audit.py::test_rows_cut_off_at_the_end_are_found_by_the_count",
    ),
    Mutant(
        "overlook an anchor that does not fit",
        "bridge/journal/auditcheck.py",
        "    if row.hash == anchor.hash:\n",
        "    if True:\n",
        "tests/journal/test_audit.py::test_an_audit_written_anew_is_found_by_an_anchor",
    ),
    Mutant(
        "audit no decision of a signer",
        "bridge/app/audit.py",
        '    ("sign", "forwarded"): ("sign_reply", "accepted"),\n',
        "",
        "tests/app/test_audit.py",
    ),
    Mutant(
        "audit no refusal at the door",
        "bridge/app/audit.py",
        "    if body.code is None or body.duplicate:\n",
        "    if True:\n",
        "tests/app/test_audit.py",
    ),
    Mutant(
        "verify no certificate",
        "bridge/app/tls.py",
        "    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)\n",
        "    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)\n"
        "    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE\n",
        "tests/app/test_tls.py::test_every_context_verifies_certificate_host_and_version",
    ),
    Mutant(
        "verify no host name",
        "bridge/app/tls.py",
        "    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)\n",
        "    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)\n    context.check_hostname = False\n",
        "tests/node/test_tls.py::test_a_node_that_cannot_prove_who_it_is_hears_no_word",
    ),
    Mutant(
        "speak TLS 1.0",
        "bridge/app/tls.py",
        "OLDEST = ssl.TLSVersion.TLSv1_2\n",
        "OLDEST = ssl.TLSVersion.TLSv1\n",
        "tests/app/test_tls.py::test_every_context_verifies_certificate_host_and_version",
    ),
    Mutant(
        "take a private key that others can read",
        "bridge/app/tls.py",
        "    read_secret(key)  # refuses one that others can read\n",
        "",
        "tests/app/test_tls.py::test_a_key_that_others_can_read_is_refused",
    ),
    Mutant(
        "let commands that end at once hold up what else waits",
        "bridge/app/worker.py",
        "            for _ in range(self._items.qsize()):\n",
        "            for _ in range(0 if has_moved else self._items.qsize()):\n",
        "tests/app/test_line.py::test_commands_that_end_at_once_do_not_hold_up_what_else_waits",
    ),
    Mutant(
        "trust the clock of the process before",
        "bridge/channel/attach.py",
        "    turn = _wait_anew(turn.set(asked=(), drops=()))\n",
        "    turn = turn.set(asked=(), drops=())\n",
        "tests/channel/test_attach.py::test_the_quiet_time_begins_again_in_another_process",
    ),
    Mutant(
        "tell a letter as often as it comes",
        "bridge/channel/letter.py",
        "    if number in heard:\n",
        "    if False:\n",
        "tests/channel/test_letter.py::test_a_letter_is_told_once_however_often_it_comes",
    ),
    Mutant(
        "judge a letter anew that the node may have taken",
        "bridge/channel/operation.py",
        "    return turn.set_operation(request_id=None) if is_letter else end_unknown(turn, sentence)\n",
        "    return turn.set_operation(stage=Stage.JOURNALED) if is_letter else end_unknown(turn, sentence)\n",
        "tests/channel/test_letter.py::test_a_letter_whose_time_has_passed_is_unknown_and_not_expired",
    ),
    Mutant(
        "sleep over a command that came while the line was looked at",
        "bridge/app/worker.py",
        "                has_moved = True  # and with it, perhaps, the line\n",
        "",
        "tests/app/test_line.py::test_a_command_that_comes_while_the_line_is_looked_at_is_not_slept_over",
    ),
    Mutant(
        "let the peer's messages fill the disk",
        "bridge/app/worker.py",
        "is_full=self._relay.is_full",
        "is_full=False",
        "tests/app/test_line.py::test_what_the_peer_says_fills_no_disk_while_the_broker_is_away",
    ),
    Mutant(
        "speak in plain text beyond loopback",
        "bridge/app/address.py",
        "    if is_plain_beyond_loopback(url, schemes) and parts.hostname not in plain_hosts:\n",
        "    if False:\n",
        "tests/app/test_config.py",
    ),
    Mutant(
        "let what a node sends wait in memory without end",
        "bridge/node/pace.py",
        "        if self._costs and self.held + cost > self.most:\n",
        "        if False:\n",
        "tests/app/test_worker.py::"
        "test_a_flood_while_the_disk_stalls_is_bounded_and_its_link_comes_back_when_all_is_stored",
    ),
    Mutant(
        "open a socket before what the last one left is stored",
        "bridge/app/worker.py",
        "        while self._is_losing or self.state.is_over:\n",
        "        while self.state.is_over:\n",
        "tests/app/test_worker.py::"
        "test_a_flood_while_the_disk_stalls_is_bounded_and_its_link_comes_back_when_all_is_stored",
    ),
    Mutant(
        "forget that what is stored makes room",
        "bridge/app/worker.py",
        "            self.room.give()\n",
        "            pass\n",
        "tests/app/test_worker.py::"
        "test_a_flood_while_the_disk_stalls_is_bounded_and_its_link_comes_back_when_all_is_stored",
    ),
    Mutant(
        "read as fast as ever what cannot be stored",
        "bridge/node/link.py",
        "pause = max(self._pace.note(now), self._room.pause(self._pace.longest))",
        "pause = self._pace.note(now)",
        "tests/node/test_pace.py::test_a_full_room_is_filled_slowly",
    ),
    Mutant(
        "offer a node compression",
        "bridge/node/handshake.py",
        "                compression=None,\n",
        "",
        "tests/node/test_handshake.py::test_no_compression_is_offered",
    ),
    Mutant(
        "go on after a confirmation of what was never published",
        "bridge/broker/publisher.py",
        "                await self._watch(self._open)\n",
        "",
        "tests/broker/test_publisher.py::test_a_confirmation_of_what_was_never_published_ends_the_connection",
    ),
    Mutant(
        "keep a connection whose socket is stuck",
        "bridge/broker/connection.py",
        '            self.discard(f"{what} took longer than {self.call_seconds:g} s", generation)\n',
        "",
        "tests/broker/test_publisher.py::test_publish_on_a_frozen_broker_ends_and_the_next_works",
    ),
    Mutant(
        "let closing wait for a stuck socket",
        "bridge/broker/connection.py",
        "        cut = asyncio.get_running_loop().call_later(CLOSE_SECONDS, live.raw.socket.cut)\n",
        "        cut = asyncio.get_running_loop().call_later(600, live.raw.socket.cut)\n",
        "tests/broker/test_publisher.py::test_stopping_does_not_wait_for_a_stuck_socket",
    ),
    Mutant(
        "wait for a publish as long as it takes",
        "bridge/broker/connection.py",
        "            async with asyncio.timeout(self.call_seconds), named(what):\n",
        "            async with named(what):\n",
        "tests/broker/test_publisher.py::test_publish_on_a_frozen_broker_ends_and_the_next_works",
    ),
    Mutant(
        "overhear that the broker cancels a consumer",
        "bridge/broker/consumer.py",
        "        underlay.on_consumer_cancel_callbacks.add(cancelled)\n",
        "",
        "tests/broker/test_consumer.py::test_deleted_queue_is_noticed_and_consumed_again",
    ),
    Mutant(
        "believe that a consumer is still listed",
        "bridge/broker/consumer.py",
        "        if answer.consumer_count == 0:\n",
        "        if False:\n",
        "tests/broker/test_pitfall.py::test_consumer_the_broker_forgot_without_a_word_is_missed",
    ),
    Mutant(
        "publish each attempt under the event's own id",
        "bridge/broker/publisher.py",
        "            message_id=uuid.uuid4().hex,\n",
        '            message_id=str(envelope.headers.get("ce-id")),\n',
        "tests/broker/test_publisher.py::test_publishes_in_flight_have_distinct_message_ids",
    ),
    Mutant(
        "publish to a broker that is blocked",
        "bridge/broker/publisher.py",
        "        if self._connection.is_blocked:\n",
        "        if False:\n",
        "tests/broker/test_publisher.py::test_blocked_broker_is_noticed_and_nothing_is_sent",
    ),
    Mutant(
        "leave the heartbeat to the library",
        "bridge/broker/connection.py",
        '{"heartbeat": self._heartbeat_seconds, "name"',
        '{"name"',
        "tests/broker/test_pitfall.py::test_silent_broker_is_noticed_by_its_heartbeats",
    ),
    Mutant(
        "let written bytes wait for a dead machine",
        "bridge/broker/transport.py",
        "            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENCE_SECONDS * 1000)\n",
        "            pass\n",
        "tests/broker/test_pitfall.py::test_written_bytes_do_not_wait_for_a_dead_machine",
    ),
    Mutant(
        "acknowledge on the connection of the moment",
        "bridge/broker/consumer.py",
        "        if subscription is not self._subscription or subscription.is_lost:\n",
        "        subscription = self._subscription or subscription\n        if subscription.is_lost:\n",
        "tests/broker/test_consumer.py::test_acknowledgement_of_an_earlier_generation_is_dropped",
    ),
    Mutant(
        "read the next frame when the last one is stored",
        "bridge/node/link.py",
        "                    self._listener.received(text, life.backlog.waited(now))\n",
        "                    self._listener.received(text, life.backlog.waited(now))\n"
        "                    await self._listener.drained()\n",
        "tests/app/test_worker.py::test_the_socket_is_read_while_nothing_is_decided",
    ),
    Mutant(
        "let the broker's library log frames",
        "bridge/broker/connection.py",
        "    logging.getLogger(_name).setLevel(logging.CRITICAL)\n",
        "    pass\n",
        "tests/broker/test_pitfall.py::test_frames_are_never_logged",
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
