"""A checked SDP offer, and the plain one that is written from it for the WebRTC library.

The library never sees what the client sent: only lines written here, from values that
`sdp_limits.read_offer` has checked.
"""

from dataclasses import dataclass
from typing import Literal

Setup = Literal["actpass", "active", "passive"]
Direction = Literal["sendrecv", "sendonly", "recvonly"]


@dataclass(frozen=True)
class IceCandidate:
    """A UDP address of the client (RFC 8839, section 5.1)."""

    foundation: str
    priority: int
    address: str
    port: int
    kind: str

    def line(self) -> str:
        """Return it as an SDP line."""
        where = f"{self.address} {self.port}"
        return f"a=candidate:{self.foundation} 1 udp {self.priority} {where} typ {self.kind}"


@dataclass(frozen=True)
class Transport:
    """How the client is reached and who it says it is."""

    ufrag: str
    password: str
    fingerprints: tuple[tuple[str, str], ...]
    setup: Setup
    candidates: tuple[IceCandidate, ...]

    def lines(self) -> list[str]:
        """Return it as the SDP lines of one media section."""
        return [
            *(candidate.line() for candidate in self.candidates),
            f"a=ice-ufrag:{self.ufrag}",
            f"a=ice-pwd:{self.password}",
            *(f"a=fingerprint:{name} {value}" for name, value in self.fingerprints),
            f"a=setup:{self.setup}",
        ]


@dataclass(frozen=True)
class AudioSection:
    """The one audio section: Opus, whatever else was offered."""

    mid: str
    payload_type: int
    format_parameters: str
    direction: Direction
    ssrc: int | None
    transport: Transport

    def lines(self) -> list[str]:
        """Return it as SDP lines."""
        number = self.payload_type
        lines = [f"m=audio 9 UDP/TLS/RTP/SAVPF {number}", "c=IN IP4 0.0.0.0"]
        lines += [f"a=mid:{self.mid}", f"a={self.direction}", "a=rtcp-mux"]
        lines += [f"a=rtpmap:{number} opus/48000/2", f"a=fmtp:{number} {self.format_parameters}"]
        if self.ssrc is not None:
            lines.append(f"a=ssrc:{self.ssrc} cname:client")
        return lines + self.transport.lines()


@dataclass(frozen=True)
class DataSection:
    """The data channel section, which shares the audio's transport."""

    mid: str
    sctp_port: int
    max_message_size: int
    transport: Transport

    def lines(self) -> list[str]:
        """Return it as SDP lines."""
        lines = ["m=application 9 UDP/DTLS/SCTP webrtc-datachannel", "c=IN IP4 0.0.0.0"]
        lines += [f"a=mid:{self.mid}", f"a=sctp-port:{self.sctp_port}"]
        lines += [f"a=max-message-size:{self.max_message_size}"]
        return lines + self.transport.lines()


@dataclass(frozen=True)
class Offer:
    """A session that a client asks for: its sections in the client's order."""

    sections: tuple[AudioSection | DataSection, ...]
    ice_lite: bool

    @property
    def has_data(self) -> bool:
        """True if the client wants a data channel."""
        return any(isinstance(section, DataSection) for section in self.sections)

    def to_sdp(self) -> str:
        """Return the offer as SDP that holds nothing the client wrote freely."""
        mids = " ".join(section.mid for section in self.sections)
        lines = ["v=0", "o=- 1 1 IN IP4 0.0.0.0", "s=-", "t=0 0"]
        lines += ["a=ice-lite"] if self.ice_lite else []
        lines += [f"a=group:BUNDLE {mids}"]
        for section in self.sections:
            lines += section.lines()
        return "\r\n".join(lines) + "\r\n"
