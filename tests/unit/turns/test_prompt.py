"""What of a conversation is sent to the model: pure, for every conversation there may be."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from schemas.chat import Message, ToolCall
from workers.turns.prompt import PromptRule, estimated_tokens, joined, messages, system_message

ROLES = st.sampled_from(["user", "user", "assistant", "assistant", "system"])
CALLS = st.lists(
    st.builds(ToolCall, st.uuids().map(str), st.text(max_size=9), st.text()), max_size=3
)


def round_of(calls: list[ToolCall]) -> tuple[Message, ...]:
    """Return an assistant's calls and the results that belong to them."""
    results = [Message("tool", f"result of {call.name}", tool_call_id=call.id) for call in calls]
    return (Message("assistant", "", tool_calls=tuple(calls)), *results)


PARTS = st.builds(Message, ROLES, st.text(max_size=60)).map(lambda one: (one,)) | CALLS.map(
    round_of
)
HISTORIES = st.lists(PARTS, max_size=25).map(lambda parts: tuple(m for part in parts for m in part))
SAID = st.none() | st.text(min_size=1, max_size=60)
RULES = st.builds(PromptRule, st.integers(1, 12), st.integers(1, 400))
SYSTEM = "You are Ada."


def begins(history: tuple[Message, ...]) -> list[int]:
    """Return where an exchange begins."""
    found = [0] if history else []
    for n, (before, message) in enumerate(pairwise(history), start=1):
        is_reply_behind_reply = (
            message.role == before.role == "assistant" and before.tool_calls == ()
        )
        if message.role == "user" or is_reply_behind_reply:
            found.append(n)
    return found


@given(HISTORIES, SAID, RULES)
def test_system_prompt_last_exchange_and_words_are_always_whole(
    history: tuple[Message, ...], said: str | None, rule: PromptRule
) -> None:
    sent = messages(SYSTEM, history, said, rule)
    assert sent[0] == Message("system", SYSTEM)
    words = () if said is None else (Message("user", said),)
    assert sent[len(sent) - len(words) :] == words
    kept = sent[1 : len(sent) - len(words)]
    last = history[begins(history)[-1] :] if history else ()
    assert kept[len(kept) - len(last) :] == last


@given(HISTORIES, SAID, RULES)
def test_what_is_kept_is_the_end_of_the_history_in_whole_exchanges(
    history: tuple[Message, ...], said: str | None, rule: PromptRule
) -> None:
    sent = messages(SYSTEM, history, said, rule)
    kept = sent[1 : len(sent) - (said is not None)]
    assert kept == history[len(history) - len(kept) :]
    assert not kept or len(history) - len(kept) in begins(history)


@given(HISTORIES, SAID, RULES)
def test_calls_of_tools_and_their_results_are_sent_together_or_not_at_all(
    history: tuple[Message, ...], said: str | None, rule: PromptRule
) -> None:
    sent = messages(SYSTEM, history, said, rule)
    asked = [call.id for message in sent for call in message.tool_calls]
    answered = [message.tool_call_id for message in sent if message.role == "tool"]
    assert answered == asked


@given(HISTORIES, SAID, RULES)
def test_both_bounds_hold_and_no_exchange_that_fits_is_left_out(
    history: tuple[Message, ...], said: str | None, rule: PromptRule
) -> None:
    sent = messages(SYSTEM, history, said, rule)
    kept = sent[1 : len(sent) - (said is not None)]
    cuts = [*begins(history), len(history)]
    exchanges = [history[start:end] for start, end in pairwise(cuts)]
    count = len([n for n in begins(history) if n >= len(history) - len(kept)])
    assert count <= rule.max_turns
    size = sum(estimated_tokens(message) for message in sent)
    assert size <= rule.max_tokens or count <= 1
    if count < min(rule.max_turns, len(exchanges)):
        more = sum(estimated_tokens(message) for message in exchanges[-count - 1])
        assert size + more > rule.max_tokens


@given(HISTORIES, SAID, RULES)
def test_the_same_conversation_gives_the_same_prompt(
    history: tuple[Message, ...], said: str | None, rule: PromptRule
) -> None:
    assert messages(SYSTEM, history, said, rule) == messages(SYSTEM, history, said, rule)


def test_a_conversation_that_fits_is_sent_as_it_was() -> None:
    history = (
        Message("assistant", "Hello."),
        Message("user", "One."),
        Message("assistant", "Two."),
    )
    assert messages(SYSTEM, history, "Three.", PromptRule()) == (
        Message("system", SYSTEM),
        *history,
        Message("user", "Three."),
    )


def test_a_token_is_taken_for_four_bytes_of_the_message() -> None:
    empty = estimated_tokens(Message("user", ""))
    assert estimated_tokens(Message("user", "x" * 400)) == empty + 100
    assert estimated_tokens(Message("user", "語" * 400)) == empty + 300


def test_nothing_is_added_to_the_prompt_unless_someone_asks() -> None:
    assert system_message("Be brief.", None, None) == "Be brief."
    assert system_message("Be brief.", "", "") == "Be brief."
    assert system_message("A", "B", "C") == "A\n\nB\n\nC"


@given(HISTORIES)
def test_what_the_user_said_in_a_row_goes_as_one_and_nothing_is_lost(
    history: tuple[Message, ...],
) -> None:
    sent = joined(history)
    assert not any(one.role == two.role == "user" for one, two in pairwise(sent))
    assert [m for m in sent if m.role != "user"] == [m for m in history if m.role != "user"]
    said = [message.content for message in history if message.role == "user"]
    assert "\n".join(m.content for m in sent if m.role == "user") == "\n".join(said)
