"""The line that the gateway says where no worker is there to say anything.

A turn worker makes it ahead, in the agent's own words and voice, and keeps it in the Redis hash
`agent:{id}:apology`: `body` (JSON of the wording) and `data` (Opus packets joined by
`schemas.audio.pack_packets`).
"""

from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from schemas.agent import Agent
from schemas.audio import MAX_PACKET_BYTES, PACKET_MS, pack_packets, unpack_packets
from schemas.closed import Closed
from schemas.text import Line, with_a_word

MAX_PACKETS: Final = 60_000 // PACKET_MS
"""A minute of speech: a line has 200 characters at most, and takes a quarter of that."""


class Wording(Closed):
    """What is said, in which voice."""

    text: Annotated[Line, AfterValidator(with_a_word)]
    voice: str


class Apology(Closed):
    """A line and its speech, in 20 ms packets of Opus."""

    wording: Wording
    packets: tuple[Annotated[bytes, Field(min_length=1, max_length=MAX_PACKET_BYTES)], ...] = Field(
        min_length=1, max_length=MAX_PACKETS
    )


BUILT_IN: Final = Wording(
    text="Sorry, something went wrong here. Please say that again.", voice="ivy"
)
"""What is said for an agent that has no line of its own, or none that was made yet."""


def wording_of(agent: Agent) -> Wording:
    """Return how this agent is to apologise."""
    return Wording(text=agent.lines.failed or BUILT_IN.text, voice=agent.voice.voice_id)


def apology_key(agent_id: str) -> str:
    """Name the Redis hash that holds the apology of an agent."""
    return f"agent:{agent_id}:apology"


def to_fields(apology: Apology) -> dict[str, str | bytes]:
    """Write it as the fields of the hash."""
    return {"body": apology.wording.model_dump_json(), "data": pack_packets(apology.packets)}


def from_fields(fields: Mapping[bytes, bytes]) -> Apology:
    """Read the fields of the hash; raises ValueError where they are malformed."""
    wording = Wording.model_validate_json(fields.get(b"body", b""))
    return Apology(wording=wording, packets=unpack_packets(fields.get(b"data", b"")))
