"""The streams of a turn on a real Redis."""

from redis.asyncio import Redis

from schemas.ids import new_id
from schemas.turn import (
    End,
    Pause,
    ReplyAudio,
    ReplyText,
    Spoken,
    TurnInput,
    UserAudio,
    input_stream,
)
from workers.storage.sessions.conversation import MAX_ENTRIES, Added, Exchange, History
from workers.storage.turns.joint_writes import EXPIRE_S
from workers.storage.turns.streams import TurnStreams


async def test_the_utterance_comes_out_as_it_went_in(redis: Redis) -> None:
    streams, turn_id = TurnStreams(redis), new_id("turn")
    sent: list[TurnInput]
    sent = [UserAudio(packets=(b"\x00one", b"", b"two")), Pause(), End(silence_ms=600)]
    await streams.write_input(turn_id, *sent)

    read = []
    async for entry in streams.read_input(turn_id, wait_ms=20):
        if entry is None:
            break
        read.append(entry)

    assert read == sent
    assert 0 < await redis.ttl(input_stream(turn_id)) <= EXPIRE_S


async def test_the_reply_is_read_while_it_is_written(redis: Redis) -> None:
    streams, turn_id = TurnStreams(redis), new_id("turn")
    reply = streams.read_reply(turn_id, wait_ms=20)

    assert await anext(reply) is None
    await streams.write_reply(turn_id, ReplyText(attempt=1, sentence=0, text="Hello."))
    assert await anext(reply) == ReplyText(attempt=1, sentence=0, text="Hello.")
    audio = ReplyAudio(attempt=1, sentence=0, first=0, last=True, packets=(b"a", b"b"))
    await streams.write_reply(turn_id, audio)
    assert await anext(reply) == audio


async def test_what_was_spoken_is_replaced_whole(redis: Redis) -> None:
    streams, turn_id = TurnStreams(redis), new_id("turn")
    assert await streams.read_spoken(turn_id) == ()
    await streams.write_spoken(turn_id, (Spoken(text="One.", packets=9, complete=True),))
    two = Spoken(text="Two.", packets=3, complete=False, is_aside=True)
    await streams.write_spoken(turn_id, (two,))
    assert await streams.read_spoken(turn_id) == (two,)


async def test_what_the_client_added_stands_where_it_was_added(redis: Redis) -> None:
    history, session_id = History(redis), new_id("session")
    entries = (
        Exchange(turn_id="1", user="", agent="Hello.", interrupted=False),
        Added(role="system", content="The user looks at page 3.\x00\n"),
        Exchange(turn_id="2", user="What is this?", agent="Page", interrupted=True),
    )
    for entry in entries:
        await history.append(session_id, entry)
    assert await history.read(session_id) == entries
    await history.forget(session_id)
    assert await history.read(session_id) == ()


async def test_the_history_keeps_the_last_turns_in_order(redis: Redis) -> None:
    history, session_id = History(redis), new_id("session")
    for number in range(MAX_ENTRIES + 5):
        await history.append(
            session_id, Exchange(turn_id=str(number), user="u", agent="a", interrupted=False)
        )
    entries = await history.read(session_id)
    turns = [entry.turn_id for entry in entries if isinstance(entry, Exchange)]
    assert len(turns) == len(entries)
    assert turns == [str(number) for number in range(5, MAX_ENTRIES + 5)]
