"""How anything in a node's frame is modelled, and what may be said when it does not fit.

Strict: no text and no fraction where a whole number belongs. Unknown fields are ignored, because nodes grow.
What is said names fields and kinds, never values: one of them can be a credential.
"""

from pydantic import BaseModel, ConfigDict, ValidationError

_MISFITS = 3


class NodeBody(BaseModel):
    """A part of a frame."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, hide_input_in_errors=True)


def describe(error: Exception) -> str:
    """One line for people: the first fields that do not fit, or the error's own words."""
    if not isinstance(error, ValidationError):
        return str(error)
    misfits = error.errors(include_url=False, include_context=False, include_input=False)[:_MISFITS]
    return "; ".join(f"{'.'.join(map(str, misfit['loc'])) or 'the body'}: {misfit['msg']}" for misfit in misfits)
