"""Server-sent events, cut anywhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.providers.sse import MAX_EVENT_BYTES, MAX_STREAM_BYTES, SseParser, TooLargeError

LINES = st.lists(
    st.sampled_from(
        [b"data: one", b"data:two", b"data", b": ping", b"id: 7", b"", b"event: x", b"data:  three"]
    ),
    max_size=30,
)
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])


def read(data: bytes) -> list[str]:
    return SseParser().feed(data + b"\n\n")


@pytest.mark.parametrize(
    ("data", "events"),
    [
        (b"data: one\n\ndata: two\n\n", ["one", "two"]),
        (b"data: one\r\n\r\ndata: two\r\n\r\n", ["one", "two"]),
        (b"data: one\rdata: two\r\rdata: x\n\n", ["one\ntwo", "x"]),
        (b"\xef\xbb\xbfdata: one\n\n", ["one"]),
        (b": ping\n\n: ping\n\n", []),
        (b"event: delta\nid: 4\ndata: one\n\n", ["one"]),
        (b"data:one\ndata\n\n", ["one\n"]),
        (b"data: \xff\n\n", ["\ufffd"]),
        (b"dat", []),
    ],
)
def test_events_are_what_the_specification_says(data: bytes, events: list[str]) -> None:
    assert read(data) == events


@given(st.sampled_from([b"", b"\xef\xbb\xbf"]), LINES, ENDS, st.data())
def test_events_do_not_depend_on_how_the_bytes_were_cut(
    mark: bytes, lines: list[bytes], end: bytes, data: st.DataObject
) -> None:
    text = mark + b"".join(line + end for line in lines) + b"\n\n"
    parser, events, rest = SseParser(), [], text
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        events += parser.feed(rest[:size])
        rest = rest[size:]
    assert events == SseParser().feed(text)


@given(st.lists(st.binary(max_size=60), max_size=40))
def test_any_bytes_are_survived(chunks: list[bytes]) -> None:
    parser = SseParser()
    for chunk in chunks:
        parser.feed(chunk)


@pytest.mark.parametrize("piece", [b"x" * 4_096, b"data: " + b"x" * 4_000 + b"\n"])
def test_an_event_beyond_its_bound_is_refused_early(piece: bytes) -> None:
    parser = SseParser()
    for _ in range(MAX_EVENT_BYTES // len(piece)):
        parser.feed(piece)
    with pytest.raises(TooLargeError):
        parser.feed(piece * 2)


def test_a_stream_beyond_its_bound_is_refused() -> None:
    parser = SseParser()
    event = b"data: " + b"x" * 1_000 + b"\n\n"
    for _ in range(MAX_STREAM_BYTES // len(event)):
        parser.feed(event)
    with pytest.raises(TooLargeError):
        parser.feed(event)
