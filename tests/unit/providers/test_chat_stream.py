"""The chunks of a chat completion, as models send them and as they should not."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.chat import Content, Finished, Used
from workers.errors import ModelError
from workers.providers.chat_stream import ChatStream

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "delta", "content", "error", "finish_reason", "code", "usage"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


def event(value: object) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def chunk(content: object = None, reason: object = None) -> bytes:
    return event({"choices": [{"delta": {"content": content}, "finish_reason": reason}]})


def test_content_comes_out_and_the_reason_ends_it() -> None:
    stream = ChatStream()
    assert stream.feed(event({"choices": [{"delta": {"role": "assistant", "content": ""}}]})) == []
    assert stream.feed(chunk("Hi") + chunk(" you")) == [Content("Hi"), Content(" you")]
    assert stream.feed(chunk(None, "stop")) == [Finished("stop")]
    assert stream.feed(b"data: [DONE]\n\n") == []
    assert stream.is_closed
    stream.end()


def test_a_reply_may_stop_without_a_word_only_where_it_may_be_silent() -> None:
    silent = event({"choices": [{"delta": {"role": "assistant"}, "finish_reason": "stop"}]})
    stream = ChatStream(may_be_silent=True)
    assert stream.feed(silent) == [Finished("stop")]
    stream.end()
    stream = ChatStream()
    assert stream.feed(silent) == []
    with pytest.raises(ModelError) as error:
        stream.end()
    assert error.value.failure == "empty"


def test_blanks_before_the_first_word_wait_for_it_and_later_ones_do_not() -> None:
    stream = ChatStream()
    assert stream.feed(chunk("\n") + chunk(" \n")) == []
    assert stream.feed(chunk("Hi")) == [Content("\n \nHi")]
    assert stream.feed(chunk("\n") + chunk("you")) == [Content("\n"), Content("you")]


COUNTED = {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17}


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        (("Hi \ud83d", "\ude00!"), "Hi 😀!"),
        (("\ud83d", "", "\ude00"), "😀"),
        (("a\ud83d", "b\ude00c"), "a\ufffdb\ufffdc"),
        (("a", "\ud83d"), "a"),
    ],
)
def test_halves_of_characters_are_joined_and_lone_ones_replaced(
    pieces: tuple[str, ...], text: str
) -> None:
    stream = ChatStream()
    events = [found for piece in pieces for found in stream.feed(chunk(piece))]
    events += stream.feed(chunk(reason="stop"))
    stream.end()
    assert "".join(found.text for found in events if isinstance(found, Content)) == text


@pytest.mark.parametrize(
    "behind",
    [
        event({"choices": [], "usage": COUNTED}),
        event({"usage": {**COUNTED, "completion_tokens": 4}}) + event({"usage": COUNTED}),
        event({"choices": [], "usage": COUNTED}) + event({"usage": None}),
        event({"choices": [], "usage": COUNTED}) + b"data: {half\n\n",
    ],
)
def test_the_usage_is_read_behind_the_end(behind: bytes) -> None:
    stream = ChatStream()
    assert stream.feed(chunk("Hi") + chunk(None, "stop") + behind)[-1] == Finished("stop")
    assert stream.usage == Used(12, 5)
    stream.end()


def test_the_usage_is_read_with_the_end_too() -> None:
    stream = ChatStream()
    last = {"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": COUNTED}
    stream.feed(chunk("Hi") + event({"choices": [], "usage": None}) + event(last))
    assert stream.usage == Used(12, 5)


@pytest.mark.parametrize(
    "usage",
    [
        7,
        "many",
        [12, 5],
        {"total_tokens": 5},
        {"prompt_tokens": -1, "completion_tokens": 5},
        {"prompt_tokens": "12", "completion_tokens": 5},
        {"prompt_tokens": True, "completion_tokens": 5},
        {"prompt_tokens": 10**12, "completion_tokens": 5},
    ],
)
def test_a_count_that_is_none_is_no_reason_to_lose_the_reply(usage: object) -> None:
    stream = ChatStream()
    stream.feed(chunk("Hi") + event({"choices": [], "usage": usage}) + chunk(None, "stop"))
    assert stream.usage is None
    stream.end()


@pytest.mark.parametrize(
    ("data", "failure"),
    [
        (b'data: {"choices": [\n\n', "bad_sse"),
        (b"data: 7\n\n", "bad_sse"),
        (event([1]), "bad_sse"),
        (event({"choices": "x"}), "bad_sse"),
        (event({"choices": [{"delta": {"content": 5}}]}), "bad_sse"),
        (event({"choices": [{"delta": {"content": "x"}, "finish_reason": 5}]}), "bad_sse"),
        (b"data: " + b"[" * 100_000 + b"\n\n", "bad_sse"),
        (event({"error": {"message": "sk-secret", "code": "server_error"}}), "http_5xx"),
        (event({"error": {"message": "sk-secret", "code": 429}}), "http_429"),
        (event({"error": {"message": "sk-secret", "code": 401}}), "http_4xx"),
        (event({"error": "sk-secret"}), "http_5xx"),
        (event({"error": {"message": "sk-secret", "code": "429"}}), "http_429"),
        (event({"error": {"message": "sk-secret", "code": "rate_limit_exceeded"}}), "http_429"),
        (event({"error": {"code": None, "type": "rate_limit_error"}}), "http_429"),
        (event({"error": {"message": "sk-secret", "code": 200}}), "http_5xx"),
        (event({"error": {"message": "sk-secret", "code": -1}}), "http_5xx"),
        (event({"error": {"message": "sk-secret", "code": "1" * 5_000}}), "http_5xx"),
        (event({"error": {"message": "sk-secret", "code": [400]}}), "http_5xx"),
        (event({"error": {"message": "sk-secret", "code": 1e400}}), "http_5xx"),
        (event({"object": "error", "message": "sk-secret", "code": 400}), "http_4xx"),
        (event({"object": "error", "message": "sk-secret"}), "http_5xx"),
        (b"data: " + b"x" * 300_000, "too_large"),
    ],
)
def test_what_is_no_reply_has_its_class_and_is_not_repeated(data: bytes, failure: str) -> None:
    with pytest.raises(ModelError) as caught:
        ChatStream().feed(data)
    assert caught.value.failure == failure
    assert "sk-secret" not in str(caught.value)


def test_an_error_without_a_status_is_told_of_without_one() -> None:
    with pytest.raises(ModelError) as caught:
        ChatStream().feed(event({"error": {"code": "server_error"}}))
    assert caught.value.status_code is None
    assert caught.value.can_retry


LATE = [event({"error": {"message": "sk-secret", "code": 429}}), b"data: {broken\n\n"]


@pytest.mark.parametrize("fault", LATE)
def test_what_comes_in_one_read_before_a_fault_is_still_told(fault: bytes) -> None:
    stream = ChatStream()
    stream.feed(chunk("Hi"))
    assert stream.feed(chunk(" you.") + fault + chunk(" Lost.", "stop")) == [Content(" you.")]
    assert stream.is_closed
    assert not stream.is_finished
    assert stream.feed(chunk(" Lost, too.", "stop")) == []
    with pytest.raises(ModelError) as caught:
        stream.end()
    assert caught.value.failure in ("http_429", "bad_sse")
    assert "sk-secret" not in str(caught.value)


@pytest.mark.parametrize("fault", LATE)
def test_where_the_fault_comes_with_the_first_word_there_is_no_word(fault: bytes) -> None:
    stream = ChatStream()
    assert stream.feed(chunk("\n")) == []
    with pytest.raises(ModelError):
        stream.feed(chunk("Hi") + fault)


@pytest.mark.parametrize(
    ("data", "failure"),
    [
        (b"", "empty"),
        (b"data: [DONE]\n\n", "empty"),
        (chunk(None, "stop"), "empty"),
        (chunk("\n") + chunk(" ", "stop"), "empty"),
        (chunk("Hi"), "incomplete"),
        (chunk("Hi") + b"data: [DONE]\n\n", "incomplete"),
    ],
)
def test_a_stream_that_ends_too_early_is_an_error(data: bytes, failure: str) -> None:
    stream = ChatStream()
    stream.feed(data)
    with pytest.raises(ModelError) as caught:
        stream.end()
    assert caught.value.failure == failure


@given(ANY_JSON)
def test_any_json_is_read_or_is_a_model_error(value: object) -> None:
    with contextlib.suppress(ModelError):
        ChatStream().feed(event(value))
