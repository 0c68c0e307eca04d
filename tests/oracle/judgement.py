"""The oracle: every rule over one run's evidence. `judge` returns what was broken, nothing when all holds.

Pure. A rule is never made softer for a run: what a run may not promise (a killed node's channel) is a fact in
the evidence, and the rule says what it means.
"""

from collections import Counter
from collections.abc import Callable, Iterator

from tests.oracle import books, ending, outcome, payment, secrecy, sequence, signature
from tests.oracle.evidence import Evidence
from tests.oracle.violation import Violation

RULES: tuple[Callable[[Evidence], Iterator[Violation]], ...] = (
    payment.amounts_are_unique,
    payment.nothing_is_applied_twice,
    payment.applied_was_asked_for,
    payment.succeeded_was_applied,
    payment.applied_has_succeeded,
    payment.failed_was_not_applied,
    payment.balances_sum_up,
    payment.both_sides_agree,
    payment.order_is_kept,
    payment.dead_letters_were_not_applied,
    sequence.numbers_have_no_gap,
    sequence.repeats_are_identical,
    sequence.the_chain_of_digests_holds,
    sequence.the_last_event_arrived,
    sequence.each_channel_was_heard,
    outcome.each_command_has_an_outcome,
    outcome.no_channel_is_halted,
    outcome.what_was_used_after_all_is_told,
    outcome.each_command_ends_once,
    outcome.repeated_results_are_identical,
    signature.one_transaction_a_round,
    signature.one_delivery_an_attempt,
    signature.the_node_got_one_transaction_a_round,
    signature.each_signature_is_written_once,
    signature.what_was_signed_was_seen,
    signature.acknowledgements_are_in_time,
    signature.acknowledgements_come_before_the_peer_gives_up,
    ending.messages_are_as_told,
    ending.letters_are_told_once,
    ending.a_close_is_as_told,
    secrecy.nothing_secret_is_readable,
    secrecy.there_is_something_to_look_through,
    books.books_are_kept,
    books.entries_balance,
    books.entries_follow_each_other,
    books.no_fact_is_booked_twice,
    books.books_are_the_nodes,
    books.what_is_unexplained_is_told,
)


def judge(evidence: Evidence) -> list[Violation]:
    """Every breach of every rule."""
    return [violation for rule in RULES for violation in rule(evidence)]


def tally(evidence: Evidence) -> Counter[str]:
    """How the commands ended, `lost` for those of which nothing was said. For figures, not for judging."""
    ids = dict.fromkeys(sent.command_id for sent in evidence.sent)
    return Counter(evidence.outcome(command_id) or "lost" for command_id in ids)


def doubtful(evidence: Evidence) -> list[str]:
    """Commands that stand in doubt at the end: allowed, but to be told."""
    return [command_id for command_id in evidence.verdicts if evidence.outcome(command_id) == "in_doubt"]
