"""Tool calls in a stream, in the shapes that servers send them."""

import contextlib
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.chat import (
    ChatEvent,
    ChatRequest,
    Content,
    Finished,
    Message,
    ToolCall,
    ToolCallPiece,
    ToolCalls,
    ToolOffer,
)
from workers.errors import ModelError
from workers.providers.chat_body import chat_body
from workers.providers.chat_stream import ChatStream
from workers.providers.chat_tool_calls import MAX_ARGUMENTS, MAX_CALLS

CITY = '{"city": "Bern"}'
TIME = '{"zone": "CET"}'


def chunk(*pieces: object, content: object = None, reason: object = None) -> bytes:
    delta = {"content": content, "tool_calls": list(pieces)}
    value = {"choices": [{"delta": delta, "finish_reason": reason}]}
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def piece(**given: Any) -> dict[str, Any]:
    function = {key: given.pop(key) for key in ("name", "arguments") if key in given}
    return {**given, "function": function}


def read(*chunks: bytes) -> list[ChatEvent]:
    stream = ChatStream()
    events = [event for data in chunks for event in stream.feed(data)]
    stream.end()
    return [event for event in events if not isinstance(event, ToolCallPiece)]


SHAPES = {
    "OpenAI: id and name first, arguments in fragments, interleaved": [
        chunk(piece(index=0, id="a", name="weather", arguments="")),
        chunk(piece(index=0, arguments='{"city":')),
        chunk(piece(index=1, id="b", name="time", arguments="")),
        chunk(piece(index=1, arguments=TIME)),
        chunk(piece(index=0, arguments=' "Bern"}')),
        chunk(reason="tool_calls"),
    ],
    "all in one, finished with stop": [
        chunk(
            piece(index=0, id="a", name="weather", arguments=CITY),
            piece(index=1, id="b", name="time", arguments=TIME),
            reason="stop",
        )
    ],
    "without an index": [
        chunk(piece(id="a", name="weather", arguments='{"city":')),
        chunk(piece(arguments=' "Bern"}')),
        chunk(piece(id="b", name="time", arguments=TIME)),
        chunk(reason="tool_calls"),
    ],
    "the same index for all": [
        chunk(piece(index=0, id="a", name="weather", arguments=CITY)),
        chunk(piece(index=0, id="b", name="time", arguments=TIME)),
        chunk(reason="stop"),
    ],
    "id and name repeated with each piece": [
        chunk(piece(index=0, id="a", name="weather", arguments='{"city":')),
        chunk(piece(index=0, id="a", name="weather", arguments=' "Bern"}')),
        chunk(piece(index=1, id="b", name="time", arguments=TIME)),
        chunk(reason="tool_calls"),
    ],
}


@pytest.mark.parametrize("chunks", SHAPES.values(), ids=SHAPES)
def test_every_shape_gives_the_same_calls(chunks: list[bytes]) -> None:
    events = read(*chunks)
    assert events[:-1] == [ToolCalls((ToolCall("a", "weather", CITY), ToolCall("b", "time", TIME)))]
    assert isinstance(events[-1], Finished)


@pytest.mark.parametrize("empty", ["", None])
@pytest.mark.parametrize("with_index", [True, False])
def test_calls_without_ids_get_ids_of_their_own(empty: str | None, *, with_index: bool) -> None:
    place: list[dict[str, Any]] = [{"index": 0}, {"index": 1}] if with_index else [{}, {}]
    events = read(
        chunk(piece(**place[0], id=empty, name="weather", arguments=CITY)),
        chunk(piece(**place[1], id=empty, name="weather", arguments=CITY), reason="stop"),
    )
    assert isinstance(events[0], ToolCalls)
    one, other = events[0].calls
    assert one.id
    assert other.id
    assert one.id != other.id
    assert {call.arguments for call in (one, other)} == {CITY}


@pytest.mark.parametrize("place", [{}, {"index": 0}])
def test_whole_calls_of_one_id_are_calls_of_their_own(place: dict[str, int]) -> None:
    events = read(
        chunk(piece(**place, id="a", name="weather", arguments="{}")),
        chunk(piece(**place, id="a", name="weather", arguments=CITY)),
        chunk(piece(**place, id="a", name="time", arguments={"zone": "CET"}), reason="stop"),
    )
    assert isinstance(events[0], ToolCalls)
    calls = events[0].calls
    assert [(call.name, call.arguments) for call in calls] == [
        ("weather", "{}"),
        ("weather", CITY),
        ("time", TIME),
    ]
    assert len({call.id for call in calls}) == 3


@pytest.mark.parametrize("place", [{}, {"index": 0}])
@pytest.mark.parametrize("again", [CITY, '{"city":"Bern"}', {"city": "Bern"}, "", "\n", None])
def test_a_call_that_is_said_again_is_one(place: dict[str, int], again: object) -> None:
    events = read(
        chunk(piece(**place, id="a", name="weather", arguments='{"city": "Be')),
        chunk(piece(**place, id="a", name="weather", arguments='rn"}')),
        chunk(piece(**place, id="a", name="weather", arguments=again), reason="tool_calls"),
    )
    assert isinstance(events[0], ToolCalls)
    (call,) = events[0].calls
    assert (call.id, call.name, json.loads(call.arguments)) == ("a", "weather", {"city": "Bern"})


def test_text_before_the_calls_comes_first_and_arguments_may_be_an_object() -> None:
    events = read(
        chunk(content="Let me look. "),
        chunk(piece(index=0, id="a", name="weather", arguments={"city": "Bern"})),
        chunk(reason="tool_calls"),
    )
    assert events[0] == Content("Let me look. ")
    assert events[1] == ToolCalls((ToolCall("a", "weather", CITY),))


def test_broken_arguments_are_handed_on_as_they_came() -> None:
    events = read(
        chunk(piece(index=0, id="a", name="weather", arguments='{"city": "Be')),
        chunk(reason="length"),
    )
    assert events[0] == ToolCalls((ToolCall("a", "weather", '{"city": "Be'),))


def test_halves_of_characters_are_joined_or_replaced() -> None:
    events = read(
        chunk(piece(index=0, id="a\ud800", name="wea\udfffther", arguments='{"city": "\ud83d')),
        chunk(piece(index=0, arguments='\ude00 \ud800"}')),
        chunk(reason="tool_calls"),
    )
    assert events[0] == ToolCalls((ToolCall("a\ufffd", "wea\ufffdther", '{"city": "😀 \ufffd"}'),))


def test_count_and_size_are_bounded() -> None:
    calls = [piece(index=n, id=f"c{n}", name="f", arguments="x" * 9_000) for n in range(40)]
    events = read(*(chunk(call) for call in calls), chunk(reason="tool_calls"))
    assert isinstance(events[0], ToolCalls)
    assert [call.id for call in events[0].calls] == [f"c{n}" for n in range(MAX_CALLS)]
    assert {len(call.arguments) for call in events[0].calls} == {MAX_ARGUMENTS + 1}


def test_calls_that_break_off_are_incomplete() -> None:
    with pytest.raises(ModelError) as caught:
        read(chunk(piece(index=0, id="a", name="weather", arguments=CITY)))
    assert caught.value.failure == "incomplete"


def test_a_call_without_a_name_is_none() -> None:
    assert read(chunk(piece(index=0, id="a", arguments="{}"), content="Hi", reason="stop")) == [
        Content("Hi"),
        Finished("stop"),
    ]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["index", "id", "function", "name", "arguments"]), inner
            )
        ),
        max_leaves=12,
    )
)
def test_any_json_in_place_of_calls_is_read_or_is_a_model_error(value: object) -> None:
    with contextlib.suppress(ModelError):
        read(chunk(value, reason="stop"), chunk(piece(index=0, name="f", arguments="{}")))


def test_the_request_spells_tools_calls_and_results_as_openai_does() -> None:
    call = ToolCall("a", "weather", CITY)
    request = ChatRequest(
        (
            Message("user", "Hi"),
            Message("assistant", "", tool_calls=(call,)),
            Message("tool", "Rain.", tool_call_id="a"),
        ),
        "session",
        "turn",
        1,
        tools=(ToolOffer("weather", "Tells it.", {"type": "object"}),),
    )
    body = chat_body("m", request)
    function = {"name": "weather", "description": "Tells it.", "parameters": {"type": "object"}}
    assert body == {
        "model": "m",
        "stream": True,
        "tools": [{"type": "function", "function": function}],
        "messages": [
            {"role": "user", "content": "Hi"},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [
                    {
                        "id": "a",
                        "type": "function",
                        "function": {"name": "weather", "arguments": CITY},
                    }
                ],
            },
            {"role": "tool", "content": "Rain.", "tool_call_id": "a"},
        ],
    }
    assert chat_body("m", replace(request, may_call=False)) == {**body, "tool_choice": "none"}
