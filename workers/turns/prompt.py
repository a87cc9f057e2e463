"""What is sent to the model: the operator's prompt, the conversation, the user. Nothing else."""

from schemas.chat import Message


def messages(system_prompt: str, history: tuple[Message, ...], said: str) -> tuple[Message, ...]:
    """Return the messages of one request, oldest first."""
    return (Message("system", system_prompt), *history, Message("user", said))
