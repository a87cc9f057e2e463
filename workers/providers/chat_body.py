"""The body of a chat completion's request, as OpenAI's API spells it: pure."""

from typing import Any

from schemas.chat import ChatRequest, to_wire


def chat_body(model: str, request: ChatRequest, *, asks_usage: bool = False) -> dict[str, Any]:
    """Return the body; a request without tools has nothing of tools in it."""
    body: dict[str, Any] = {
        "model": model,
        "messages": [to_wire(message) for message in request.messages],
        "stream": True,
    }
    if asks_usage:
        body["stream_options"] = {"include_usage": True}
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
        if not request.may_call:
            body["tool_choice"] = "none"
    return body
