"""The audio that crosses process boundaries: 20 ms packets of mono Opus."""

import struct
from dataclasses import dataclass
from typing import Final, Literal

PACKET_MS: Final = 20
"""Length of one Opus packet, of one chunk of speech and of one RTP packet, in milliseconds."""

SPEECH_RATE: Final = 16_000
"""Sample rate at which speech is detected, gated and transcribed, in hertz; mono, 16-bit."""

REPLY_RATE: Final = 24_000
"""Sample rate of synthesised speech before it is encoded, in hertz; mono, 16-bit."""

CHUNK_SAMPLES: Final = SPEECH_RATE * PACKET_MS // 1000
"""Samples in one 20 ms chunk of speech (320)."""

OPUS_CLOCK: Final = 48_000
"""RTP clock of Opus in hertz, whatever the encoder was fed with (RFC 7587, section 4.1)."""

PACKET_TICKS: Final = OPUS_CLOCK * PACKET_MS // 1000
"""RTP ticks in one 20 ms packet (960)."""

MAX_PACKET_BYTES: Final = 1275
"""The largest Opus packet of one frame (RFC 6716, section 3.4)."""


@dataclass(frozen=True)
class OpusForm:
    """How a reply is encoded."""

    bitrate: int
    """Bits a second."""
    complexity: int
    """0 to 10, as libopus counts the effort."""
    application: Literal["voip", "audio"] = "voip"
    """What libopus tunes for: `voip` models a voice, `audio` keeps the wave, at half the CPU."""


def pack_packets(packets: tuple[bytes, ...]) -> bytes:
    """Join Opus packets into one value, each behind its length as 16 bits, big-endian."""
    return b"".join(struct.pack("!H", len(packet)) + packet for packet in packets)


def unpack_packets(data: bytes) -> tuple[bytes, ...]:
    """Split what `pack_packets` joined; raises ValueError if `data` is not such a value."""
    packets = []
    position = 0
    while position < len(data):
        if position + 2 > len(data):
            raise ValueError("a packet length is cut short")
        (length,) = struct.unpack_from("!H", data, position)
        position += 2
        if position + length > len(data):
            raise ValueError("a packet is cut short")
        packets.append(data[position : position + length])
        position += length
    return tuple(packets)
