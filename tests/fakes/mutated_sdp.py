"""Hostile offers: real ones with seeded damage, from a changed byte to a thousand lines."""

import random
from collections.abc import Callable, Iterator

TOKENS = [
    "",
    "\x00",
    " ",
    ":",
    "/",
    "999999999999999999999",
    "-1",
    "0",
    "é",
    "٣",
    "%s",
    "*",
    "a" * 2_000,
    "IN IP4 0.0.0.0",
    "m=audio 9 UDP/TLS/RTP/SAVPF 111",
    "m=video 9 UDP/TLS/RTP/SAVPF 96",
    "m=application 9 DTLS/SCTP 5000",
    "a=group:BUNDLE",
    "a=setup:holdconn",
    "a=ice-lite",
    "a=inactive",
    "a=rtpmap:111 opus/0/0",
    "a=rtpmap:x",
    "a=fmtp:111",
    "a=ssrc:1",
    "a=mid:0 1",
    "a=fingerprint:sha-256",
    "a=candidate:1 1 udp 1 example.local 1 typ host",
    "a=candidate:1 1 udp 1 ::1%lo 1 typ host",
    "a=candidate:1 1 udp 1 224.0.0.1 1 typ host",
    "a=max-message-size:0",
    "a=sctp-port:0",
    "a=extmap:0 urn:ietf:params:rtp-hdrext:sdes:mid",
]

Mutation = Callable[[list[str], random.Random], None]


def _drop(lines: list[str], dice: random.Random) -> None:
    del lines[dice.randrange(len(lines))]


def _double(lines: list[str], dice: random.Random) -> None:
    at = dice.randrange(len(lines))
    lines[at:at] = [lines[at]] * dice.choice([1, 1, 3, 40, 700])


def _swap(lines: list[str], dice: random.Random) -> None:
    one, other = dice.randrange(len(lines)), dice.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]


def _insert(lines: list[str], dice: random.Random) -> None:
    lines.insert(dice.randrange(len(lines)), dice.choice(TOKENS))


def _edit(lines: list[str], dice: random.Random) -> None:
    at = dice.randrange(len(lines))
    line = lines[at]
    start = dice.randrange(len(line) + 1)
    stop = min(len(line), start + dice.choice([0, 1, 1, 4, 30]))
    lines[at] = line[:start] + dice.choice([*TOKENS, chr(dice.randrange(256))]) + line[stop:]


def _number(lines: list[str], dice: random.Random) -> None:
    at = dice.randrange(len(lines))
    words = lines[at].split(" ")
    words[dice.randrange(len(words))] = str(dice.choice([-1, 0, 1, 96, 255, 256, 65_536, 2**33]))
    lines[at] = " ".join(words)


def _cut(lines: list[str], dice: random.Random) -> None:
    del lines[dice.randrange(1, len(lines) + 1) :]


MUTATIONS: list[Mutation] = [_drop, _double, _swap, _insert, _edit, _number, _edit, _number, _cut]


def mutated(offers: list[str], count: int, seed: int) -> Iterator[bytes]:
    """Yield `count` damaged offers; the same ones for the same seed."""
    dice = random.Random(seed)
    for _ in range(count):
        lines = dice.choice(offers).split("\r\n")
        for _ in range(dice.choice([1, 1, 1, 2, 3, 6])):
            if lines:
                dice.choice(MUTATIONS)(lines, dice)
        yield "\r\n".join(lines).encode("utf-8", "surrogateescape")
