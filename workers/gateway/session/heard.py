"""What of a reply was accepted and what of it was heard: pure, counted in 20 ms packets.

A sentence may come in parts from several attempts of the same turn. What is accepted is
never accepted again, so nothing is heard twice.
"""

import re
from dataclasses import dataclass

from schemas.audio import PACKET_MS
from schemas.turn import ReplyAudio, ReplyText, Spoken

PACKETS_A_CHARACTER = 3.5
"""Guessed length of a sentence whose audio is not all there: 70 ms a character."""


@dataclass
class Sentence:
    """One sentence of the reply and how much of its audio was accepted."""

    text: str
    attempt: int
    packets: int = 0
    complete: bool = False
    announced: bool = False
    is_aside: bool = False

    def expected(self) -> int:
        """Return its length in packets, guessed while it is incomplete."""
        if self.complete:
            return self.packets
        return max(self.packets, round(len(self.text) * PACKETS_A_CHARACTER))

    def cut(self, packets: int) -> str:
        """Return the words that were heard whole within this many of its packets."""
        if self.complete and packets >= self.packets:
            return self.text
        reach = int(len(self.text) * packets / max(1, self.expected()))
        whole = [match.end() for match in re.finditer(r"\S+", self.text) if match.end() <= reach]
        return self.text[: whole[-1]] if whole else ""


@dataclass(frozen=True)
class Delta:
    """Words that are about to be heard, in milliseconds from the first sound of the reply.

    The texts of a reply, put together as they are, read as the reply does.
    """

    text: str
    start_ms: float
    end_ms: float


class SpokenLog:
    """The sentences of one reply in the order in which they are heard."""

    def __init__(self) -> None:
        self._sentences: list[Sentence] = []
        self._by_number: dict[int, Sentence] = {}

    @property
    def packets(self) -> int:
        """How many packets were accepted in all."""
        return sum(sentence.packets for sentence in self._sentences)

    def take_text(self, entry: ReplyText) -> None:
        """Take in the words of a sentence whose audio follows."""
        known = self._by_number.get(entry.sentence)
        if known is not None and (known.complete or _same(known.text, entry.text)):
            return
        if known is not None and known.packets == 0:
            self._sentences.remove(known)
        if self._was_said(entry):
            self._by_number[entry.sentence] = Sentence(entry.text, entry.attempt, complete=True)
            return
        sentence = Sentence(entry.text, entry.attempt, is_aside=entry.is_aside)
        self._by_number[entry.sentence] = sentence
        self._sentences.append(sentence)

    def _was_said(self, entry: ReplyText) -> bool:
        """Tell whether an earlier attempt said this sentence to its end."""
        return any(
            sentence.complete
            and sentence.attempt < entry.attempt
            and _same(sentence.text, entry.text)
            for sentence in self._sentences
        )

    def take_audio(self, entry: ReplyAudio) -> tuple[tuple[bytes, ...], Delta | None]:
        """Return the packets that are new, and the words of a sentence that begins with them."""
        sentence = self._by_number.get(entry.sentence)
        if sentence is None or sentence.complete:
            return (), None
        new = entry.packets[max(0, sentence.packets - entry.first) :]
        start = self.packets
        sentence.packets += len(new)
        sentence.complete = entry.last
        if sentence.announced or not new:
            return new, None
        sentence.announced = True
        end = start + sentence.expected()
        text = f" {sentence.text}" if start else sentence.text
        return new, Delta(text, start * PACKET_MS, end * PACKET_MS)

    def is_aside(self, number: int) -> bool:
        """Tell whether a sentence is no words of the model's."""
        sentence = self._by_number.get(number)
        return sentence is not None and sentence.is_aside

    def spoken(self) -> tuple[Spoken, ...]:
        """Return what a further attempt must not say again."""
        return tuple(
            Spoken(
                text=sentence.text,
                packets=sentence.packets,
                complete=sentence.complete,
                is_aside=sentence.is_aside,
            )
            for sentence in self._sentences
            if sentence.packets
        )

    def heard(self, packets: int, *, with_asides: bool = True) -> str:
        """Return the words that were heard within this many packets of the reply."""
        parts = []
        for sentence in self._sentences:
            if with_asides or not sentence.is_aside:
                parts.append(sentence.cut(min(packets, sentence.packets)))
            packets = max(0, packets - sentence.packets)
        return " ".join(part for part in parts if part)


def _same(one: str, other: str) -> bool:
    """Compare sentences as they sound: case, spaces and punctuation aside."""
    return _sound(one) == _sound(other)


def _sound(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))
