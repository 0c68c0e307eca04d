"""What a command that has not succeeded must show: `failed`, a stable code, and the evidence that code stands on.

guarantees.md sections 2 and 7. A code of the class before any signature is evidence by itself: nothing was signed that
could count; only `node_rejected` carries the node's own codes besides. One after a signature needs what the node said
(`node_code` of its conflict) or what the peer could still use, by its transaction and what clears it (`exposure`).
That it was not applied is the oracle's to see, in the node's book; this is what the client was given to go by.
"""

from typing import Any

from bridge.errors import Code
from bridge.wire.body import CodeClass, classify
from tests.oracle.evidence import Evidence


def unproven(evidence: Evidence) -> list[str]:
    """Each command that neither succeeded nor failed with evidence, and what is missing. A run may demand none."""
    found = {command_id: _lacks(verdict) for command_id, verdict in evidence.verdicts.items()}
    return [f"{command_id}: {lack}" for command_id, lack in found.items() if lack]


def _lacks(verdict: dict[str, Any]) -> str:
    """Nothing if all is there."""
    if verdict["outcome"] == "succeeded":
        return ""
    if verdict["outcome"] != "failed":
        return f"it ended {verdict['outcome']}, code {verdict.get('code')}"
    if verdict.get("executed") is not False:
        return f"it failed, and executed is {verdict.get('executed')}"
    try:
        code = Code(str(verdict.get("code")))
    except ValueError:
        return f"it failed with code {verdict.get('code')}, which is none"
    data, exposure = verdict.get("data") or {}, verdict.get("exposure")
    match classify(code):
        case CodeClass.FAILED_UNSIGNED:
            is_shown = code is not Code.NODE_REJECTED or bool(data.get("node_codes"))
        case CodeClass.FAILED_SIGNED:
            is_shown = isinstance(data.get("node_code"), int) or _is_exposure(verdict, exposure)
        case _:
            return f"it failed with {code}, which is no code of a failure"
    return "" if is_shown else f"it failed with {code}, and shows nothing for it"


def _is_exposure(verdict: dict[str, Any], exposure: dict[str, Any] | None) -> bool:
    """It names its transaction, the same as the result, and what clears it: a round, or a nonce."""
    if exposure is None or not exposure.get("tx_hash") or exposure["tx_hash"] != verdict.get("tx_hash"):
        return False
    return isinstance(exposure.get("round"), int) or isinstance(exposure.get("nonce"), int)
