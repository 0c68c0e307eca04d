"""Why a node refused a request: the neutral words, between legacy's texts and JSON-RPC's numbers.

One table, protocol.md section D rule 2, with the words for the numbers legacy never had (section C.8).
A legacy text the table does not know stays as it is and counts as an internal error.
"""

INTERNAL_ERROR = -32603

_WORDS = {
    100: "not_found",
    101: "requires_coin",
    102: "gas_too_low",
    103: "gas_limit_exceeded",
    104: "broken_encoding",
    105: "value_too_low",
    106: "timeout",
    107: "conflict",
    108: "not_ready",
    1001: "insufficient_balance",
    1002: "negative_amount",
    1003: "invalid_pubkeys",
    1004: "call_not_found",
    1005: "broken_encoding",
    1006: "broken_encoding",
    1007: "contract_init_failed",
    1008: "not_a_number",
    1009: "broken_code",
    1010: "invalid_tx",
    1011: "participant_not_found",
    1012: "offchain_tx_expected",
    1013: "tx_already_onchain",
    1014: "invalid_meta",
    1015: "invalid_error_code",
    1016: "invalid_fsm_id",
    1017: "bad_signature",
    1018: "not_allowed_now",
    1019: "abi_version_mismatch",
    1020: "vm_version_mismatch",
    2000: "missing_fsm_id",
    1: "unauthorized",
    2: "action_not_allowed",
    3: "rejected",
    -32700: "parse_error",
    -32000: "invalid_request",
    -32601: "unhandled",
    -32602: "invalid_params",
    INTERNAL_ERROR: "internal_error",
}

_LEGACY_CODES = {
    "insufficient_balance": (1001,),
    "negative_amount": (1002,),
    "invalid_pubkeys": (1003,),
    "call_not_found": (1004,),
    "broken_encoding": (104,),
    "broken_encoding: accounts": (1005,),
    "broken_encoding: contracts": (1006,),
    "broken_encoding: accounts, contracts": (1005, 1006),
    "contract_init_failed": (1007,),
    "not_a_number": (1008,),
    "broken_code": (1009,),
    "broken_hexcode": (1009,),
    "invalid_tx": (1010,),
    "not_found": (100,),
    "conflict": (107,),
    "not_ready": (108,),
    "unhandled": (-32601,),
}


def name_codes(codes: tuple[int, ...]) -> tuple[str, ...]:
    """The neutral words of a node's codes, each once, in their order; `unknown` where there is none."""
    return tuple(dict.fromkeys(_WORDS.get(code, "unknown") for code in codes))


def read_reason(text: str) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Codes and neutral words of a legacy error text."""
    codes = _LEGACY_CODES.get(text)
    return ((INTERNAL_ERROR,), (text,)) if codes is None else (codes, name_codes(codes))


def write_reason(code: int) -> str:
    """The legacy text of a code, for whoever plays a legacy node; an internal error has no text of its own."""
    texts = (text for text, codes in _LEGACY_CODES.items() if codes == (code,))
    return next(texts, _WORDS.get(code, "unknown"))
