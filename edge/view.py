"""What the user sees while they talk: one line per thing that happens."""

from collections.abc import Mapping
from typing import Final, Protocol, TypeAlias

from rich.console import Console
from rich.markup import escape

from schemas import session_events as events

Timings: TypeAlias = Mapping[str, float | None]

BAR: Final = 40
"""Characters of the longest bar of the time line."""


class View(Protocol):
    """Who is shown what happens."""

    def note(self, text: str) -> None:
        """Show a remark about the device itself."""
        ...

    def gate(self, *, is_open: bool) -> None:
        """Show that speech begins or ends."""
        ...

    def event(self, event: events.AnyServerEvent) -> None:
        """Show what the gateway says."""
        ...

    def turn(self, timings: Timings, error: str | None) -> None:
        """Show a turn that is over: where its time went, and what was wrong with it."""
        ...


class NoView:
    """Shows nothing."""

    def note(self, text: str) -> None:
        """Show nothing."""

    def gate(self, *, is_open: bool) -> None:
        """Show nothing."""

    def event(self, event: events.AnyServerEvent) -> None:
        """Show nothing."""

    def turn(self, timings: Timings, error: str | None) -> None:
        """Show nothing."""


class LiveView:
    """Writes to a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def note(self, text: str) -> None:
        """Write a remark, dimmed."""
        self._console.print(f"[dim]· {escape(text)}[/dim]", highlight=False)

    def gate(self, *, is_open: bool) -> None:
        """Write that the gate opened or closed."""
        self.note("gate open: you are heard" if is_open else "gate closed: nothing is sent")

    def event(self, event: events.AnyServerEvent) -> None:
        """Write what was understood, said, or went wrong."""
        match event:
            case events.UserTranscript(text=text) if text:
                self._line("you", "cyan", text)
            case events.AgentTranscriptDelta(delta=delta):
                self._line("agent", "green", delta.strip())
            case events.AgentTranscript(interrupted=True):
                self.note("the reply was interrupted")
            case events.ToolCall(name=name):
                self.note(f"the agent calls {name}")
            case events.ReplyError(code=code, message=message):
                self._line("error", "red", f"{code}: {message}")
            case events.ReplyMetrics(failures=failures):
                for failed in failures:
                    self.note(
                        f"{failed.model} failed after {failed.after_ms:.0f} ms: {failed.code}"
                    )
            case events.SessionError(code=code, message=message):
                self._line("error", "red", f"{code}: {message}")
            case _:
                pass

    def turn(self, timings: Timings, error: str | None) -> None:
        """Write the time line of a turn."""
        if error is not None:
            self._line("error", "red", error)
        for line in time_line(timings):
            self._console.print(f"[dim]  {line}[/dim]", highlight=False)

    def _line(self, who: str, colour: str, text: str) -> None:
        self._console.print(f"[bold {colour}]{who:>5}[/] {escape(text)}", highlight=False)


STAGES: Final = {
    "endpoint_ms": "you are done",
    "queue_ms": "turn queue",
    "stt_ms": "speech to text",
    "llm_first_token_ms": "first word of the model",
    "tts_first_audio_ms": "first audio made",
    "reply_first_packet_ms": "first reply packet here",
    "total_ms": "reply played",
}


def time_line(timings: Timings) -> list[str]:
    """Return one line per stage that has a time: its name, a bar and milliseconds."""
    known = {
        label: value
        for key, label in STAGES.items()
        if (value := timings.get(key)) is not None and value >= 0
    }
    longest = max([value for value in known.values() if value], default=1.0)
    return [
        f"{label:<24} {'▇' * max(1, round(BAR * value / longest))} {value:.0f} ms"
        for label, value in known.items()
    ]
