import os
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.llm_stub.exchange import Request
from workers.llm_stub.incoming import read_form
from workers.llm_stub.replies import calls_of, pieces_of, tokens_of
from workers.llm_stub.script import ANSWERS, FAULTS, Script, UnknownScriptError, read_script


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("stub", Script()),
        ("gpt-4o-mini", Script()),
        ("", Script()),
        ("vendor/model;free", Script()),
        ("stub-stall@1", Script("stall", 1)),
        ("stall", Script("stall")),
        ("stub-reset@40", Script("reset", 40)),
        ("stub;ttft=0.2;rate=30", Script(ttft=0.2, rate=30)),
        ("stub-429;retry=7", Script("429", retry=7)),
        ("stub-stall@3;for=5", Script("stall", 3, lasts=5)),
        ("stub-story;tokens=500", Script("story", tokens=500)),
    ],
)
def test_a_script_is_read(text: str, script: Script) -> None:
    assert read_script(text) == script


@pytest.mark.parametrize(
    "text", ["stub-stal", "stub;speed=3", "stub;rate=-1", "stub;rate=nan", "stub-stall@x"]
)
def test_a_slip_is_told_and_not_taken_for_a_plain_answer(text: str) -> None:
    with pytest.raises(UnknownScriptError):
        read_script(text)


@given(st.text())
def test_any_text_is_a_script_or_is_refused(text: str) -> None:
    try:
        read_script(text)
    except UnknownScriptError:
        return


def test_every_name_is_read_and_stands_on_the_page() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "llm-stub.md").read_text()
    for name, what in {**ANSWERS, **FAULTS}.items():
        assert read_script(f"stub-{name}").is_fault == (name in FAULTS)
        assert f"| `stub-{name}` | {what} |" in page


def asked(*messages: tuple[str, str], **more: object) -> Request:
    body = {"messages": [{"role": role, "content": text} for role, text in messages], **more}
    return Request("POST", "/", {}, body)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (Script(), "The plain answer. "),
        (Script("echo"), "You said: Hi. "),
        (Script(tokens=5), "The plain answer. The plain "),
        (Script("repeat", tokens=4), "Again and again. Again "),
    ],
)
def test_the_reply_is_the_scripts(script: Script, said: str) -> None:
    assert "".join(tokens_of(asked(("user", "Hi")), script, "The plain answer.")) == said


def test_a_system_prompt_may_say_what_the_reply_is() -> None:
    request = asked(("system", "Be kind. SAY: Well, well."), ("user", "Hi"))
    assert "".join(tokens_of(request, Script(), "no")) == "Well, well. "


TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        "parameters": {
            "type": "object",
            "properties": {
                "query": {"type": "string"},
                "days": {"type": "integer", "minimum": 3},
                "unit": {"enum": ["metric", "imperial"]},
                "unused": {"type": "string"},
            },
            "required": ["query", "days", "unit"],
        },
    },
}


def test_a_tool_call_fits_the_tools_schema_and_comes_in_pieces() -> None:
    (call,) = calls_of(asked(("user", "snow"), tools=[TOOL]), Script("tool"))
    whole = '{"query": "snow", "days": 3, "unit": "metric"}'
    assert call["function"] == {"name": "look_up", "arguments": whole}
    first, *rest = pieces_of(call, 0, broken=False)
    assert first["id"] == call["id"]
    assert "".join(piece["function"]["arguments"] for piece in rest) == whole
    broken = [piece["function"]["arguments"] for piece in pieces_of(call, 0, broken=True)]
    assert whole.startswith("".join(broken))
    assert len("".join(broken)) < len(whole)


def test_what_the_tools_answered_is_told_instead_of_calling_again() -> None:
    request = asked(("user", "snow"), ("assistant", ""), ("tool", "none"), tools=[TOOL])
    assert calls_of(request, Script("tool")) == []
    assert "".join(tokens_of(request, Script("tool"), "no")) == "The tool said: none. "


@given(st.binary(max_size=3_000), st.text(max_size=50).filter(lambda text: "\r" not in text))
def test_a_form_comes_out_as_it_went_in(file: bytes, text: str) -> None:
    text = text.replace("\n", "")
    form = httpx.Request(
        "POST", "http://stub/", data={"model": text}, files={"file": ("a.wav", file)}
    )
    fields, found = read_form(form.headers["content-type"], form.read())
    assert found == file
    assert fields == {"model": text.encode("utf-8", "replace").decode("utf-8", "replace")}


def test_random_bytes_survive_a_form() -> None:
    file = os.urandom(200_000) + b"\r\n--x\r\n"
    form = httpx.Request("POST", "http://stub/", files={"file": ("a.wav", file)})
    assert read_form(form.headers["content-type"], form.read()) == ({}, file)
