"""What an SDP offer may be. Checked in one linear pass, before the WebRTC library sees it.

RFC 8866 (SDP), RFC 8839 (ICE), RFC 8841 (data channels), RFC 8842 (DTLS), RFC 7587 (Opus).
"""

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, get_args

from workers.gateway.session.sdp_offer import (
    AudioSection,
    DataSection,
    Direction,
    IceCandidate,
    Offer,
    Setup,
    Transport,
)

MAX_BYTES: Final = 32_768
MAX_LINES: Final = 600
MAX_LINE: Final = 1_024
MAX_SECTIONS: Final = 2
MAX_CANDIDATES: Final = 32
MAX_FINGERPRINTS: Final = 4
MAX_MESSAGE_SIZE: Final = 65_536
DIGESTS: Final = {"sha-256": 32, "sha-384": 48, "sha-512": 64}
"""Digests that both ends of DTLS know, with their length in bytes."""

_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`{|}~-]{1,32}")
_ICE: Final = re.compile(r"[A-Za-z0-9+/]{1,256}")
_MEDIA: Final = re.compile(r"(\w{1,16}) (\d{1,5})(?:/\d{1,5})? ([A-Z/]{1,32})((?: [\w.-]{1,32})+)")
_RTPMAP: Final = re.compile(r"(\d{1,3}) opus/48000/2", re.IGNORECASE | re.ASCII)
_CANDIDATE: Final = re.compile(
    r"([A-Za-z0-9+/]{1,32}) (\d{1,5}) (\w{1,8}) (\d{1,10}) (\S{1,253}) (\d{1,5})"
    r" typ (host|srflx|prflx|relay)(?: .*)?",
    re.ASCII,
)
_DIRECTIONS: Final[tuple[Direction, ...]] = get_args(Direction)
_LONGEST_NUMBER: Final = 20


class OfferError(ValueError):
    """The offer cannot be taken; `param` names the line or section that is wrong."""

    def __init__(self, message: str, param: str | None = None, *, status: int = 422) -> None:
        super().__init__(message)
        self.param = param
        self.status = status


@dataclass
class _Section:
    """The lines of one media section, or of the session above them."""

    media: str
    values: dict[str, list[str]] = field(default_factory=dict)

    def first(self, name: str) -> str | None:
        found = self.values.get(name)
        return found[0] if found else None


def read_offer(body: bytes) -> Offer:
    """Read an offer; raises OfferError with a line fit for the client."""
    session, sections = _split(_lines(body))
    if not sections:
        raise OfferError("the offer has no media section", "m")
    if len(sections) > MAX_SECTIONS:
        raise OfferError("an offer has one audio section and at most one data channel", "m")
    read = tuple(_read_section(section, session) for section in sections)
    if sum(isinstance(section, AudioSection) for section in read) != 1:
        raise OfferError("an offer needs exactly one audio section", "m=audio")
    _check_bundle(session, [section.mid for section in read])
    return Offer(read, ice_lite="ice-lite" in session.values)


def _lines(body: bytes) -> Iterator[str]:
    if len(body) > MAX_BYTES:
        raise OfferError(f"an offer is at most {MAX_BYTES} bytes", status=413)
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise OfferError("the offer is not UTF-8 text", status=400) from None
    lines = text.replace("\r\n", "\n").rstrip("\n").split("\n")
    if lines[0] != "v=0":
        raise OfferError("the body is not an SDP offer: it begins with v=0", "v", status=400)
    if len(lines) > MAX_LINES:
        raise OfferError(f"an offer has at most {MAX_LINES} lines", status=413)
    for number, line in enumerate(lines, start=1):
        if len(line) > MAX_LINE or line[1:2] != "=" or not line.isprintable():
            raise OfferError("a line is not <letter>=<value>", f"line {number}", status=400)
        yield line


def _split(lines: Iterator[str]) -> tuple[_Section, list[_Section]]:
    session = _Section("")
    sections: list[_Section] = []
    for line in lines:
        if line.startswith("m="):
            sections.append(_Section(line[2:]))
        elif line.startswith("a="):
            name, _, value = line[2:].partition(":")
            section = sections[-1] if sections else session
            section.values.setdefault(name, []).append(value)
    return session, sections


def _read_section(section: _Section, session: _Section) -> AudioSection | DataSection:
    matched = _MEDIA.fullmatch(section.media)
    if matched is None:
        raise OfferError("a media line is malformed", "m", status=400)
    kind, port, profile, formats = matched.groups()
    if port == "0" and "bundle-only" not in section.values:
        raise OfferError("a media section is switched off (port 0)", f"m={kind}")
    if kind == "audio":
        return _read_audio(section, session, profile, formats.split())
    if kind == "application":
        return _read_data(section, session, profile, formats.split())
    raise OfferError("only audio and a data channel can be offered", "m")


def _read_audio(
    section: _Section, session: _Section, profile: str, formats: list[str]
) -> AudioSection:
    if profile not in ("UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP"):
        raise OfferError("audio travels as UDP/TLS/RTP/SAVPF", "m=audio")
    if "rtcp-mux" not in section.values:
        raise OfferError("RTCP has to share the port of RTP", "a=rtcp-mux")
    number = _opus(section, formats)
    return AudioSection(
        mid=_mid(section),
        payload_type=number,
        format_parameters=_format_parameters(section, number),
        direction=_direction(section, session),
        ssrc=_ssrc(section),
        transport=_transport(section, session),
    )


def _read_data(
    section: _Section, session: _Section, profile: str, formats: list[str]
) -> DataSection:
    if profile != "UDP/DTLS/SCTP" or formats != ["webrtc-datachannel"]:
        raise OfferError("a data channel is UDP/DTLS/SCTP webrtc-datachannel", "m=application")
    size = _number(section.first("max-message-size") or "65536", "a=max-message-size")
    return DataSection(
        mid=_mid(section),
        sctp_port=_number(section.first("sctp-port") or "5000", "a=sctp-port", 1, 65_535),
        max_message_size=min(size, MAX_MESSAGE_SIZE) or MAX_MESSAGE_SIZE,
        transport=_transport(section, session),
    )


def _number(text: str, param: str, least: int = 0, most: int = 2**64) -> int:
    digits = text.strip()
    if len(digits) > _LONGEST_NUMBER or not (digits.isascii() and digits.isdecimal()):
        raise OfferError("a number is malformed", param, status=400)
    number = int(digits)
    if not least <= number <= most:
        raise OfferError(f"a number is outside {least} to {most}", param)
    return number


def _opus(section: _Section, formats: list[str]) -> int:
    for value in section.values.get("rtpmap", ()):
        matched = _RTPMAP.fullmatch(value)
        if matched and matched[1] in formats:
            # Below 96 are types of fixed meaning, 64 to 95 clash with RTCP (RFC 5761, section 4).
            return _number(matched[1], "a=rtpmap", 96, 127)
    raise OfferError("the audio section does not offer opus/48000/2", "a=rtpmap")


def _format_parameters(section: _Section, number: int) -> str:
    """Return what matters to us of the client's wishes: whether it wants repair data."""
    prefix = f"{number} "
    offered = next((v for v in section.values.get("fmtp", ()) if v.startswith(prefix)), "")
    fec = "1" if "useinbandfec=1" in offered.replace(" ", "") else "0"
    return f"minptime=10;useinbandfec={fec}"


def _direction(section: _Section, session: _Section) -> Direction:
    for values in (section.values, session.values):
        if "inactive" in values:
            raise OfferError("the audio section is inactive", "a=inactive")
        for name in _DIRECTIONS:
            if name in values:
                return name
    return "sendrecv"


def _ssrc(section: _Section) -> int | None:
    value = section.first("ssrc")
    return None if value is None else _number(value.split(" ")[0], "a=ssrc", 0, 2**32 - 1)


def _mid(section: _Section) -> str:
    mid = section.first("mid")
    if mid is None or _TOKEN.fullmatch(mid) is None:
        raise OfferError("a media section has no mid, or one that is no token", "a=mid")
    return mid


def _check_bundle(session: _Section, mids: list[str]) -> None:
    if len(set(mids)) != len(mids):
        raise OfferError("two media sections have the same mid", "a=mid")
    if len(mids) == 1:
        return
    groups = [value.split() for value in session.values.get("group", ())]
    if not any(group[:1] == ["BUNDLE"] and set(mids) <= set(group[1:]) for group in groups):
        raise OfferError("audio and data channel have to share one transport", "a=group")


def _transport(section: _Section, session: _Section) -> Transport:
    def inherited(name: str) -> list[str]:
        return section.values.get(name) or session.values.get(name) or []

    ufrag, password = "".join(inherited("ice-ufrag")[:1]), "".join(inherited("ice-pwd")[:1])
    if _ICE.fullmatch(ufrag) is None or len(ufrag) < 4:  # noqa: PLR2004  # RFC 8839, section 5.4
        raise OfferError("the ICE user name is missing or malformed", "a=ice-ufrag")
    if _ICE.fullmatch(password) is None or len(password) < 22:  # noqa: PLR2004  # as above
        raise OfferError("the ICE password is missing or malformed", "a=ice-pwd")
    setup = "".join(inherited("setup")[:1])
    if setup not in get_args(Setup):
        raise OfferError("a=setup is actpass, active or passive", "a=setup")
    return Transport(
        ufrag=ufrag,
        password=password,
        fingerprints=_fingerprints(inherited("fingerprint")),
        setup=setup,  # type: ignore[arg-type]  # one of the literal's own arguments
        candidates=tuple(_candidates(section.values.get("candidate", []))),
    )


def _fingerprints(values: list[str]) -> tuple[tuple[str, str], ...]:
    if len(values) > MAX_FINGERPRINTS:
        raise OfferError(f"at most {MAX_FINGERPRINTS} fingerprints", "a=fingerprint")
    found = []
    for value in values:
        name, _, digest = value.strip().partition(" ")
        length = DIGESTS.get(name.lower())
        if length is None:
            continue
        if re.fullmatch(rf"(?:[0-9A-Fa-f]{{2}}:){{{length - 1}}}[0-9A-Fa-f]{{2}}", digest) is None:
            raise OfferError("a fingerprint is malformed", "a=fingerprint", status=400)
        found.append((name.lower(), digest.upper()))
    if not found:
        raise OfferError("there is no SHA-256, SHA-384 or SHA-512 fingerprint", "a=fingerprint")
    return tuple(found)


def _candidates(values: list[str]) -> Iterator[IceCandidate]:
    """Yield the addresses that can be dialled; the others are skipped (RFC 8839, section 5.1).

    Names (mDNS) are skipped, too: looking them up would hold the answer up, and the client's
    own connectivity checks show where it is.
    """
    if len(values) > MAX_CANDIDATES:
        raise OfferError(f"at most {MAX_CANDIDATES} candidates in a section", "a=candidate")
    for value in values:
        matched = _CANDIDATE.fullmatch(value.strip())
        if matched is None:
            raise OfferError("a candidate is malformed", "a=candidate", status=400)
        foundation, component, protocol, priority, address, port, kind = matched.groups()
        if component != "1" or protocol.lower() != "udp" or not _is_address(address):
            continue
        yield IceCandidate(
            foundation=foundation,
            priority=_number(priority, "a=candidate", 0, 2**32 - 1),
            address=address,
            port=_number(port, "a=candidate", 1, 65_535),
            kind=kind,
        )


def _is_address(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return not (address.is_multicast or address.is_unspecified or "%" in text)
