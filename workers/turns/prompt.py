"""What is sent to the model: the agent's prompt, the conversation, the user's words.

Nothing else, unless the operator asks for it or the client does for one reply. An exchange
is a user message and its reply, calls of tools included, or a reply that nobody's words came
before: it is kept whole or dropped whole.
"""

import json
from dataclasses import dataclass, replace
from typing import Final

from schemas.chat import Message, to_wire

BYTES_A_TOKEN: Final = 4

Messages = tuple[Message, ...]


@dataclass(frozen=True)
class PromptRule:
    """How much of the conversation is sent, and the operator's own text, None where none is."""

    max_turns: int = 100
    max_tokens: int = 16_000
    suffix: str | None = None


def messages(system: str, history: Messages, said: str | None, rule: PromptRule) -> Messages:
    """Return the messages of one request, oldest first; `said` is None where nobody spoke.

    The system message, the last exchange of the history and the user's words are always
    there; of the exchanges before, the newest that fit.
    """
    head = Message("system", system)
    words = () if said is None else (Message("user", said),)
    room = rule.max_tokens - sum(estimated_tokens(message) for message in (head, *words))
    return (head, *_newest(_exchanges(history), rule.max_turns, room), *words)


def joined(messages: Messages) -> Messages:
    """Return messages of the user that follow each other as one, a line for each.

    A reply that nobody heard leaves none between them, and some models refuse two in a row.
    """
    together: list[Message] = []
    for message in messages:
        if together and message.role == together[-1].role == "user":
            last = together[-1]
            together[-1] = replace(last, content=f"{last.content}\n{message.content}")
        else:
            together.append(message)
    return tuple(together)


def system_message(prompt: str, suffix: str | None, instructions: str | None) -> str:
    """Return the agent's prompt, then the operator's text, then what holds for this reply."""
    return "\n\n".join(text for text in (prompt, suffix, instructions) if text)


def estimated_tokens(message: Message) -> int:
    """Return how many tokens a message is taken for: one for four bytes of its JSON."""
    size = len(json.dumps(to_wire(message), ensure_ascii=False).encode())
    return -(-size // BYTES_A_TOKEN)


def _exchanges(history: Messages) -> list[list[Message]]:
    """Cut before each user message and each reply that follows another one, as a greeting does."""
    exchanges: list[list[Message]] = []
    for message in history:
        if not exchanges or _begins(message, exchanges[-1][-1]):
            exchanges.append([])
        exchanges[-1].append(message)
    return exchanges


def _begins(message: Message, before: Message) -> bool:
    if message.role == "user":
        return True
    return message.role == before.role == "assistant" and not before.tool_calls


def _newest(exchanges: list[list[Message]], max_turns: int, room: int) -> Messages:
    """Return the last exchange and those before it for as long as they fit, in order."""
    kept: list[list[Message]] = []
    for exchange in reversed(exchanges[-max_turns:]):
        room -= sum(estimated_tokens(message) for message in exchange)
        if kept and room < 0:
            break
        kept.insert(0, exchange)
    return tuple(message for exchange in kept for message in exchange)
