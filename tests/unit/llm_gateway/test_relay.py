"""A stream on its way through: what is passed on, what is learnt from it, what is refused."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.errors import ModelError
from workers.llm_gateway.relay import CUT_OFF, Relay, Tokens, has_answer


def event(delta: dict[str, Any] | None, reason: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    body = {"choices": [] if delta is None else [choice], **more}
    return f"data: {json.dumps(body)}\n\n".encode()


ROLE = event({"role": "assistant", "content": ""}, usage=None)
WORDS = [event({"content": word}, usage=None) for word in ("One", ' "error": ', ' "usage": {')]
STOP = event({}, "stop")
USAGE = event(None, usage={"prompt_tokens": 3, "completion_tokens": 4})
DONE = b"data: [DONE]\n\n"
WHOLE = b"".join([b": hi\n\n", ROLE, *WORDS, b": ping\n\n", STOP, USAGE, DONE])


def through(relay: Relay, chunks: list[bytes]) -> bytes:
    passed = b"".join(relay.feed(chunk) for chunk in chunks)
    return passed + relay.end()


def cut(raw: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(raw) + 1) for place in places), len(raw)]
    return [raw[a:b] for a, b in itertools.pairwise(edges)]


@given(places=st.lists(st.integers(0, 10_000), max_size=40), crlf=st.booleans())
def test_however_it_is_cut_the_same_comes_out(places: list[int], *, crlf: bool) -> None:
    raw = WHOLE.replace(b"\n", b"\r\n") if crlf else WHOLE
    relay = Relay(passes_usage=False)
    passed = through(relay, cut(raw, places))
    wanted = b"".join([ROLE, *WORDS, b": ping\n\n", STOP])
    assert passed.replace(b"\r\n", b"\n") == wanted
    assert relay.usage == Tokens(3, 4)
    assert relay.is_finished
    assert relay.is_closed


def test_usage_is_passed_on_to_who_asked_for_it() -> None:
    assert USAGE in through(Relay(passes_usage=True), [WHOLE])


def test_it_has_begun_with_the_first_content_and_not_before() -> None:
    relay = Relay(passes_usage=False)
    relay.feed(b": ping\n\n" + ROLE)
    assert not relay.has_begun
    relay.feed(event({"reasoning_content": "Hm."}))
    assert relay.has_begun


def test_a_tool_call_is_content() -> None:
    relay = Relay(passes_usage=False)
    relay.feed(event({"tool_calls": [{"index": 0, "id": "c"}]}))
    assert relay.has_begun


def test_blanks_are_held_back_and_come_with_the_first_word() -> None:
    relay, blank = Relay(passes_usage=False), event({"content": "\n\n"})
    held = relay.feed(ROLE + blank)
    assert not relay.has_begun
    assert held + relay.feed(WORDS[0]) == ROLE + blank + WORDS[0]
    assert relay.has_begun


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_an_end_that_says_why_there_is_nothing_is_an_answer(reason: str) -> None:
    raw = ROLE + event({}, reason)
    assert through(Relay(passes_usage=False), [raw + DONE]) == raw


@pytest.mark.parametrize(
    ("choice", "answers"),
    [
        ({}, False),
        ({"message": None}, False),
        ({"message": {"role": "assistant", "content": "\n"}, "finish_reason": "stop"}, False),
        ({"message": {"content": None, "tool_calls": []}, "finish_reason": "tool_calls"}, False),
        ({"message": {"content": "Yes."}}, True),
        ({"message": {"content": None, "refusal": "No."}}, True),
        ({"message": {"content": None, "tool_calls": [{"id": "c"}]}}, True),
        ({"message": {"content": ""}, "finish_reason": "length"}, True),
        ({"message": {"content": ""}, "finish_reason": ["length"]}, False),
    ],
)
def test_a_choice_is_an_answer_by_what_it_says(choice: dict[str, Any], *, answers: bool) -> None:
    assert has_answer(choice, "message", CUT_OFF) is answers


def test_the_end_may_lack_its_blank_line_and_its_done() -> None:
    raw = b"".join([ROLE, *WORDS, STOP]).removesuffix(b"\n\n")
    relay = Relay(passes_usage=False)
    assert through(relay, [raw]) == raw + b"\n\n"


@pytest.mark.parametrize(
    ("raw", "failure"),
    [
        (b"", "empty"),
        (ROLE, "empty"),
        (DONE, "empty"),
        (ROLE + STOP + DONE, "empty"),
        (ROLE + event({"content": "\n "}) + STOP + USAGE + DONE, "empty"),
        (event({}, "tool_calls") + DONE, "empty"),
        (ROLE + WORDS[0], "incomplete"),
        (ROLE + WORDS[0] + DONE, "incomplete"),
        (b"data: {broken\n\n", "bad_sse"),
        (b"data: []\n\n", "bad_sse"),
        (b'data: {"choices": [1]}\n\n', "bad_sse"),
        (b'data: {"choices": 1}\n\n', "bad_sse"),
        (b'data: {"error": {"message": "sk-secret", "code": 429}}\n\n', "http_429"),
        (ROLE + WORDS[0] + b'data: {"error": "sk-secret"}\n\n', "http_5xx"),
        (
            b'data: {"error": {"message": "sk-secret", "code": "rate_limit_exceeded"}}\n\n',
            "http_429",
        ),
        (b'data: {"object": "error", "message": "sk-secret", "code": 429}\n\n', "http_429"),
        (WORDS[0] + b'data: {"object":"error","message":"sk-secret"}\n\n', "http_5xx"),
        (b"data: " + b"x" * 300_000, "too_large"),
        (WORDS[0] * 100_000, "too_large"),
    ],
)
def test_what_is_no_answer_has_its_class_and_none_of_its_words(raw: bytes, failure: str) -> None:
    with pytest.raises(ModelError) as raised:
        through(Relay(passes_usage=False), cut(raw, [n * 9_999 for n in range(1_000)]))
    assert raised.value.failure == failure
    assert "sk-secret" not in str(raised.value)


@given(st.binary(max_size=2_000), st.lists(st.integers(0, 10_000), max_size=5))
def test_no_bytes_do_more_than_raise_a_model_error(raw: bytes, places: list[int]) -> None:
    relay = Relay(passes_usage=False)
    with pytest.raises(ModelError):
        through(relay, cut(raw, places))


@pytest.mark.parametrize("shape", ['"error": "sk-secret"', '"object" : "error", "code": 400'])
def test_after_content_no_word_of_an_error_is_passed_on(shape: str) -> None:
    relay = Relay(passes_usage=False)
    relay.feed(WORDS[0])
    fault = f'data: {{"message": "sk-secret", {shape}}}\n\n'.encode()
    assert relay.feed(ROLE + WORDS[1] + fault + WORDS[2] + STOP) == ROLE + WORDS[1]
    assert relay.is_closed
    assert relay.feed(WORDS[0]) == b""
    with pytest.raises(ModelError) as raised:
        relay.end()
    assert raised.value.failure in ("http_4xx", "http_5xx")


def test_an_error_in_the_read_of_the_first_content_is_one_before_it() -> None:
    with pytest.raises(ModelError):
        Relay(passes_usage=False).feed(WORDS[0] + b'data: {"error": "sk-secret"}\n\n')


def test_an_error_without_its_blank_line_is_none_of_the_end() -> None:
    relay = Relay(passes_usage=False)
    relay.feed(WORDS[0] + STOP + b'data: {"error": "sk-secret"}')
    with pytest.raises(ModelError) as raised:
        relay.end()
    assert raised.value.failure == "http_5xx"
