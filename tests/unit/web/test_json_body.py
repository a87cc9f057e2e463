import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.strict_json import MAX_DEPTH, NotJsonError
from workers.web.json_body import read_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(),
    lambda below: st.lists(below) | st.dictionaries(st.text(), below),
)


@given(VALUES, st.booleans())
def test_what_others_write_is_read_as_it_was(value: object, escaped: bool) -> None:  # noqa: FBT001  # drawn
    assert read_json(json.dumps(value, ensure_ascii=escaped).encode()) == value


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b'{"planted": }', "not valid JSON"),
        (b'"\x00"', "not valid JSON"),
        (b"\xef\xbb\xbf{}", "not valid JSON"),
        (b"\xff", "not UTF-8"),
        ("{}".encode("utf-16"), "not UTF-8"),
        (b'"\xed\xa0\x80"', "not UTF-8"),
        (b'{"a": {"b": 1, "c": 2, "b": 1}}', "twice"),
        (b"[NaN]", "NaN"),
        (b"[-Infinity]", "Infinity"),
        (b"1" * 21, "20 digits"),
        (b"[1e999]", "too large"),
        (b'["\\ud800"]', "surrogate"),
        (b'{"a": [{"\\udfff": 1}]}', "surrogate"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "deep"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "deep"),
        (b"[" * 1_000_000, "deep"),
    ],
)
def test_what_readers_understand_differently_is_refused_and_not_quoted(
    body: bytes, reason: str
) -> None:
    with pytest.raises(NotJsonError, match=reason) as refusal:
        read_json(body)
    assert "planted" not in str(refusal.value)


def test_bounds_are_what_they_say() -> None:
    read_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    read_json(b'"' + b"[" * 1_000 + b'"')
    assert read_json(b'"\\ud83d\\ude00"') == "😀"
    assert read_json(b"18446744073709551615") == 2**64 - 1
    assert [type(number) for number in read_json(b"[60.0, 6e1, 0.5]")] == [int, int, float]
