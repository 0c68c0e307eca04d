"""A message that is said until the node takes it, and how whoever hears it twice knows that it is one.

The protocol's message has no number, so the text carries one: `channel-bridge:message:<command_id>`, a line feed, and
what was to be said. A peer that is no bridge can read that too. One message of ours is on its way at a time, so that
a repeat comes before anything later; the peer need not be so orderly.
"""

import re
from typing import Final

from bridge.channel.command import COMMAND_ID_PATTERN, LETTER_PREFIX, Message
from bridge.channel.input import MessageReceived
from bridge.channel.turn import Turn

MOST_HEARD = 64
"""Numbers of the peer's letters that we remember."""
_HEAD: Final = re.compile(rf"{LETTER_PREFIX}({COMMAND_ID_PATTERN})\n")


def write(message: Message) -> str:
    """What the node is given."""
    return f"{message.letter_head}{message.info}" if message.is_letter else message.info


def hear(turn: Turn, received: MessageReceived) -> Turn:
    """Told once, if it has a number; what has none as often as it comes."""
    told = {"from": received.from_account, "to": received.to_account}
    head = _HEAD.match(received.info)
    if head is None:
        return turn.publish("message", "received", raw=received.raw, **told, info=received.info)
    number, heard = head[1], turn.state.heard
    if number in heard:
        return turn
    told |= {"info": received.info[head.end() :], "message_id": number}
    return turn.set(heard=(*heard, number)[-MOST_HEARD:]).publish("message", "received", raw=received.raw, **told)
