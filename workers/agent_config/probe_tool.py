"""The part of a probe that offers a tool and looks whether the model calls it."""

import asyncio
import json
from dataclasses import replace
from typing import Final

import httpx

from schemas.chat import ChatRequest, Message, ToolCall, ToolCalls, ToolOffer
from schemas.ids import new_id
from schemas.llm_health import ToolUse
from workers.errors import ModelError
from workers.providers.chat import Budget, Endpoint, OpenAiChat

TOOL_S: Final = 15.0
"""How long the model may take to call the tool."""
TOOL: Final = ToolOffer(
    "get_weather",
    "Returns the weather of a city.",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
QUESTION: Final = f"What is the weather in Bern? Call {TOOL.name} to find out."


async def offer_tool(client: httpx.AsyncClient, endpoint: Endpoint, budget: Budget) -> ToolUse:
    """Return what the model makes of a tool; that it does not use it is no failure."""
    request = ChatRequest(
        messages=(Message("user", QUESTION),),
        session_id=new_id("session"),
        turn_id=new_id("turn"),
        attempt=1,
        tools=(TOOL,),
    )
    chat = OpenAiChat(client, endpoint, replace(budget, total_s=min(TOOL_S, budget.total_s)))
    try:
        async with asyncio.timeout(TOOL_S), chat.stream(request) as events:
            async for event in events:
                if isinstance(event, ToolCalls):
                    return _judge(event.calls[0])
    except ModelError as error:
        return "refused" if error.failure == "http_4xx" else "no_answer"
    except TimeoutError:
        return "no_answer"
    return "not_called"


def _judge(call: ToolCall) -> ToolUse:
    try:
        arguments = json.loads(call.arguments or "{}")
    except (ValueError, RecursionError):
        return "broken"
    return "called" if call.name == TOOL.name and isinstance(arguments, dict) else "broken"
