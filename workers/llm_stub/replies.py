"""What the stub says: the tokens of a reply, and the arguments of tool calls. Pure."""

import itertools
import json
from collections.abc import Iterator
from typing import Any, Final

from workers.llm_stub.exchange import Request
from workers.llm_stub.script import Script

MARK: Final = "SAY: "
"""Behind it, a system prompt says what the reply shall be."""
PIECE: Final = 6
"""Characters of a tool call's arguments in one chunk."""

Calls = list[dict[str, Any]]


class UnreadableToolsError(ValueError):
    """The request's tools are none; the message says so."""


def tokens_of(request: Request, script: Script, say: str) -> Iterator[str]:
    """Yield the tokens of the reply, without end where the script has none."""
    if script.name in ("story", "repeat"):
        return _limited(_endless(script.name), script.tokens)
    if results := _tool_results(request):
        text = f"The tool said: {' and '.join(results)}."
    elif script.name == "echo":
        text = f"You said: {request.said}."
    else:
        text = _told(request) or say
    words = [f"{word} " for word in text.split(" ")]
    if script.tokens is None:
        return itertools.chain(words, _until_the_fault(script, len(words)))
    return _limited(itertools.cycle(words), script.tokens)


def calls_of(request: Request, script: Script) -> Calls:
    """Return the tool calls that the script wants made; none once the tools have answered.

    Raises UnreadableToolsError.
    """
    tools = request.body.get("tools")
    wants = script.name in ("tool", "tools", "broken-tool")
    if not wants or not isinstance(tools, list) or _tool_results(request):
        return []
    chosen = tools if script.name == "tools" else tools[:1]
    try:
        return [_call(tool["function"], number, request.said) for number, tool in enumerate(chosen)]
    except (AttributeError, LookupError, TypeError, RecursionError):
        raise UnreadableToolsError("`tools` are no list of functions with JSON Schemas") from None


def pieces_of(call: dict[str, Any], number: int, *, broken: bool) -> Iterator[dict[str, Any]]:
    """Yield a call as the deltas of a stream bring it; broken ones lack the arguments' end."""
    name, arguments = call["function"]["name"], call["function"]["arguments"]
    yield {**call, "index": number, "function": {"name": name, "arguments": ""}}
    sent = arguments[: len(arguments) // 2] if broken else arguments
    for start in range(0, len(sent), PIECE):
        yield {"index": number, "function": {"arguments": sent[start : start + PIECE]}}


def _endless(name: str) -> Iterator[str]:
    if name == "repeat":
        return itertools.cycle(("Again ", "and ", "again. "))
    return (
        token
        for number in itertools.count(1)
        for token in ("This is sentence", f" number {number}", " of a long story. ")
    )


def _until_the_fault(script: Script, said: int) -> Iterator[str]:
    """Yield what is missing so that something is left to say when things go wrong."""
    missing = (script.after or 0) + 1 - said if script.is_fault else 0
    return itertools.islice(_endless("story"), max(0, missing))


def _limited(tokens: Iterator[str], most: int | None) -> Iterator[str]:
    return tokens if most is None else itertools.islice(tokens, most)


def _told(request: Request) -> str:
    prompts = (m.get("content") for m in request.messages if m.get("role") == "system")
    return "".join(map(str, prompts)).partition(MARK)[2]


def _tool_results(request: Request) -> list[str]:
    """Return what the tools answered since the user spoke."""
    results: list[str] = []
    for message in reversed(request.messages):
        if message.get("role") == "user":
            break
        if message.get("role") == "tool":
            results.insert(0, str(message.get("content")))
    return results


def _call(function: dict[str, Any], number: int, said: str) -> dict[str, Any]:
    schema = function.get("parameters")
    arguments = json.dumps(_example(schema if isinstance(schema, dict) else {}, said))
    named = {"name": str(function.get("name")), "arguments": arguments}
    return {"id": f"call_stub_{number}", "type": "function", "function": named}


def _example(schema: dict[str, Any], said: str) -> object:
    """Return a value that fits a simple JSON Schema; strings are what the user said."""
    if schema.get("enum"):
        return schema["enum"][0]
    if schema.get("type", "object") == "object":
        properties = schema.get("properties") or {}
        wanted = schema.get("required", list(properties))
        return {name: _example(properties.get(name, {}), said) for name in wanted}
    plain = {"string": said, "integer": 1, "number": 1, "boolean": True, "array": []}
    return schema.get("minimum", plain.get(str(schema["type"])))
