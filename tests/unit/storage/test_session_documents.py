"""Entries of a time line: what goes in comes out, and a repeated message is held once."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from schemas.session_history import SentRequest, TurnEntry
from tests.integration.session_history.entries import message, turn
from workers.storage.sessions.documents import (
    MAX_MESSAGES,
    Bodies,
    Entry,
    digests_of,
    read_document,
    size_of,
    to_document,
)

WIRE = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "tool"]), "content": st.text(max_size=20)},
    optional={"tool_calls": st.lists(st.dictionaries(st.text(), st.text(), max_size=2))},
)
REQUESTS = st.lists(
    st.builds(
        SentRequest,
        attempt=st.integers(1, 3),
        model=st.text(max_size=9),
        messages=st.lists(WIRE, max_size=6).map(tuple),
    ),
    max_size=4,
).map(tuple)


def asked(*requests: list[dict[str, Any]]) -> Entry:
    sent = tuple(SentRequest(attempt=1, model="m", messages=tuple(one)) for one in requests)
    return turn().model_copy(update={"sent": sent})


def back(document: str, bodies: Bodies) -> Entry:
    assert digests_of([document]) == set(bodies)
    return read_document(document, bodies)


@given(REQUESTS, st.text(max_size=50))
def test_what_goes_in_comes_out(sent: tuple[SentRequest, ...], said: str) -> None:
    entry = turn(said=said).model_copy(update={"sent": sent})
    assert back(*to_document(entry)) == entry
    added = message(content=said)
    assert back(*to_document(added)) == added


def test_a_long_conversation_takes_room_as_it_grows_and_not_as_it_is_repeated() -> None:
    history: list[dict[str, Any]] = [{"role": "system", "content": "Be brief." * 100}]
    bodies: Bodies = {}
    documents = []
    for number in range(100):
        history += [{"role": "user", "content": f"{number} " * 50}]
        document, new = to_document(asked(history))
        documents.append(document)
        bodies |= new
        history += [{"role": "assistant", "content": f"{number}! " * 80}]
    written = sum(len(text) for text in (*documents, *bodies.values()))
    said = sum(len(json.dumps(one)) for one in history)
    repeated = sum(size_of(read_document(document, bodies)) for document in documents)
    assert len(bodies) == 200
    assert written < said + 100 * 10_000 < repeated


def test_an_entry_names_so_many_messages_and_the_newest_requests_are_kept() -> None:
    many = [{"role": "user", "content": str(number)} for number in range(MAX_MESSAGES // 2)]
    kept = back(*to_document(asked(many, many, many)))
    assert isinstance(kept, TurnEntry)
    assert [request.omitted for request in kept.sent] == [True, False, False]
    assert [len(request.messages) for request in kept.sent] == [0, len(many), len(many)]


def test_a_message_that_is_gone_is_empty_and_the_rest_is_read() -> None:
    document, _ = to_document(turn())
    read = read_document(document, {})
    assert isinstance(read, TurnEntry)
    assert read.user == turn().user
    assert {len(one) for request in read.sent for one in request.messages} == {0}
