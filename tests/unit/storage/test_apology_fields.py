"""The apology of an agent as the fields of a Redis hash."""

import pytest

from schemas.apology import MAX_PACKETS, Apology, Wording, from_fields, to_fields
from schemas.audio import MAX_PACKET_BYTES, pack_packets

BODY = b'{"text": "Tut mir leid.", "voice": "ruby"}'
DATA = pack_packets((b"\x78one", b"\x78two"))


def test_an_apology_reads_back_as_it_was() -> None:
    apology = Apology(
        wording=Wording(text="Tut mir leid.", voice="ruby"), packets=(b"\x78one", b"\x78two")
    )
    fields = {
        name.encode(): value.encode() if isinstance(value, str) else value
        for name, value in to_fields(apology).items()
    }
    assert from_fields(fields) == apology
    assert from_fields({b"body": BODY, b"data": DATA}) == apology


@pytest.mark.parametrize(
    "fields",
    [
        {b"data": DATA},
        {b"body": BODY},
        {b"body": b"\xff", b"data": DATA},
        {b"body": b"[]", b"data": DATA},
        {b"body": b'{"text": "Tut mir leid."}', b"data": DATA},
        {b"body": b'{"text": "...", "voice": "ruby"}', b"data": DATA},
        {b"body": b'{"text": "%b", "voice": "ruby"}' % (b"x" * 201), b"data": DATA},
        {b"body": BODY, b"data": DATA[:-1]},
        {b"body": BODY, b"data": pack_packets((b"",))},
        {b"body": BODY, b"data": pack_packets((bytes(MAX_PACKET_BYTES + 1),))},
        {b"body": BODY, b"data": pack_packets((b"\x78",) * (MAX_PACKETS + 1))},
    ],
    ids=range(11),
)
def test_what_is_malformed_is_an_error_of_one_kind(fields: dict[bytes, bytes]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # of several libraries, each with words of its own
        from_fields(fields)
