"""Why a signer refuses: a stable word for programs and a sentence for people, and nothing secret in either.

The word stands in the refusal's `code` and, in the result of the command, before the sentence. Words are never
renamed, only added; docs/signer.md explains each.
"""

from enum import StrEnum

from bridge.wire.body import Refusal, SignReplyBody

MAX_REASON_CHARACTERS = 500


class Objection(StrEnum):
    NO_KEY = "no_key"
    UNREADABLE = "unreadable"
    DEADLINE_PASSED = "deadline_passed"
    WRONG_KIND = "wrong_kind"
    PAYLOAD_DIFFERS = "payload_differs"
    DEVELOPMENT_KEY = "development_key"
    POLICY_DENIED = "policy_denied"
    NOTHING_TO_GUARD = "nothing_to_guard"
    GUARD_CONFLICT = "guard_conflict"
    REQUEST_CHANGED = "request_changed"
    KEY_REFUSED = "key_refused"
    KEY_UNAVAILABLE = "key_unavailable"


MEANINGS = {
    Objection.NO_KEY: "The signer has no key of the account.",
    Objection.UNREADABLE: "A field of the request is no transaction, amount or instant.",
    Objection.DEADLINE_PASSED: "The deadline has passed; a late signature is never given.",
    Objection.WRONG_KIND: "The transaction is not of the kind that the tag names.",
    Objection.PAYLOAD_DIFFERS: "`signing_payload` is not made of this transaction, network and form.",
    Objection.DEVELOPMENT_KEY: "A development signer signs nothing for the main network.",
    Objection.POLICY_DENIED: "The account's policy does not allow it; the sentence says which rule.",
    Objection.NOTHING_TO_GUARD: "The transaction names no channel, or neither round nor nonce: no guard could hold.",
    Objection.GUARD_CONFLICT: "Another transaction was signed in its place and is not declared abandoned.",
    Objection.REQUEST_CHANGED: "The id was used before for another transaction. This answer is not kept.",
    Objection.KEY_REFUSED: "What holds the key will not sign, or gave something that is no signature of the account.",
    Objection.KEY_UNAVAILABLE: "What holds the key did not answer until the deadline.",
}


def refuse(sign_request_id: str, objection: Objection, sentence: str) -> SignReplyBody:
    refusal = Refusal(reason=sentence[:MAX_REASON_CHARACTERS] or objection.value, code=objection.value)
    return SignReplyBody(sign_request_id=sign_request_id, refusal=refusal)
