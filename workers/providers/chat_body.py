"""The body of a chat completion's request, as OpenAI's API spells it: pure."""

from typing import Any

from schemas.chat import ChatRequest, Message


def chat_body(model: str, request: ChatRequest) -> dict[str, Any]:
    """Return the body; a request without tools has nothing of tools in it."""
    body: dict[str, Any] = {
        "model": model,
        "messages": [message_body(message) for message in request.messages],
        "stream": True,
    }
    if request.tools:
        body["tools"] = [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": tool.parameters,
                },
            }
            for tool in request.tools
        ]
    return body


def message_body(message: Message) -> dict[str, Any]:
    """Return one message."""
    body: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        body["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        body["tool_call_id"] = message.tool_call_id
    return body
