import gc
import time
from pathlib import Path

import pytest
from aiortc.sdp import SessionDescription
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.mutated_sdp import mutated
from workers.gateway.session.sdp_limits import MAX_BYTES, OfferError, read_offer
from workers.gateway.session.sdp_offer import AudioSection, DataSection

DATA = Path(__file__).parents[2] / "data" / "sdp"
CHROMIUM = (DATA / "chromium.sdp").read_bytes()
FIREFOX = (DATA / "firefox.sdp").read_bytes()
REAL = [CHROMIUM.decode(), FIREFOX.decode()]


def _without(prefix: str, sdp: bytes = CHROMIUM) -> bytes:
    lines = sdp.decode().split("\r\n")
    return "\r\n".join(line for line in lines if not line.startswith(prefix)).encode()


def _with(line: str, count: int = 1, sdp: bytes = CHROMIUM) -> bytes:
    return sdp + f"{line}\r\n".encode() * count


def test_what_chromium_offers_is_understood() -> None:
    offer = read_offer(CHROMIUM)
    audio, data = offer.sections
    assert isinstance(audio, AudioSection)
    assert isinstance(data, DataSection)
    assert (audio.mid, audio.payload_type, audio.direction) == ("0", 111, "sendrecv")
    assert audio.format_parameters == "minptime=10;useinbandfec=1"
    assert audio.ssrc == 3570614608
    assert [candidate.address for candidate in audio.transport.candidates] == [
        "192.168.1.17",
        "203.0.113.141",
        "2001:db8:85a3::8a2e:370:7334",
    ]
    assert data.sctp_port == 5000
    assert offer.has_data


def test_what_firefox_offers_is_understood_whatever_comes_first() -> None:
    offer = read_offer(FIREFOX)
    assert [section.mid for section in offer.sections] == ["0", "1"]
    assert isinstance(offer.sections[0], DataSection)
    assert offer.sections[1].transport.fingerprints[0][0] == "sha-256"


@pytest.mark.parametrize("sdp", [CHROMIUM, FIREFOX])
def test_the_offer_that_is_written_is_one_the_library_reads_the_same(sdp: bytes) -> None:
    offer = read_offer(sdp)
    written = offer.to_sdp()
    assert read_offer(written.encode()) == offer
    parsed = SessionDescription.parse(written)
    assert [media.rtp.muxId for media in parsed.media] == [s.mid for s in offer.sections]
    assert len(written) < len(sdp)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", "v"),
        (b"{}", "v"),
        (b"\xff\xfe", None),
        (b"v=0", "m"),
        (_without("m="), "m"),
        (_without("a=ice-ufrag"), "a=ice-ufrag"),
        (_without("a=ice-pwd"), "a=ice-pwd"),
        (_without("a=fingerprint"), "a=fingerprint"),
        (_without("a=setup"), "a=setup"),
        (_without("a=mid"), "a=mid"),
        (_without("a=rtcp-mux"), "a=rtcp-mux"),
        (_without("a=rtpmap:111"), "a=rtpmap"),
        (_without("a=group"), "a=group"),
        (_with("m=video 9 UDP/TLS/RTP/SAVPF 96"), "m"),
        (_with("a=candidate:nonsense"), "a=candidate"),
        (_with("a=candidate:1 1 udp 1 192.0.2.1 1 typ host", 33), "a=candidate"),
        (_with("x" * 2_000), "line 53"),
        (_with("a=x:\x00"), "line 53"),
        (CHROMIUM.replace(b"a=sendrecv", b"a=inactive"), "a=inactive"),
        (CHROMIUM.replace(b"a=setup:actpass", b"a=setup:holdconn"), "a=setup"),
        (CHROMIUM.replace(b"a=mid:1", b"a=mid:0"), "a=mid"),
        (CHROMIUM.replace(b"sha-256", b"sha-1"), "a=fingerprint"),
        (CHROMIUM.replace(b"19:E2:1C", b"19:E2"), "a=fingerprint"),
        (CHROMIUM.replace(b"m=audio 58779", b"m=audio 0"), "m=audio"),
        (CHROMIUM.replace(b"sctp-port:5000", b"sctp-port:0"), "a=sctp-port"),
    ],
)
def test_an_offer_that_cannot_be_taken_is_refused_by_name(body: bytes, param: str | None) -> None:
    with pytest.raises(OfferError) as refused:
        read_offer(body)
    assert refused.value.param == param
    assert 400 <= refused.value.status < 500


@pytest.mark.parametrize("body", [_with("a=x", 601), CHROMIUM + b"a=" + b"x" * MAX_BYTES])
def test_an_offer_that_is_too_long_is_refused_as_such(body: bytes) -> None:
    with pytest.raises(OfferError) as refused:
        read_offer(body)
    assert refused.value.status == 413


def test_audio_alone_is_an_offer_and_needs_no_bundle() -> None:
    alone = CHROMIUM[: CHROMIUM.index(b"m=application")].replace(b"a=group:BUNDLE 0 1\r\n", b"")
    offer = read_offer(alone)
    assert not offer.has_data
    assert len(offer.sections) == 1


@given(st.binary(max_size=400))
def test_no_bytes_are_anything_but_an_offer_or_a_refusal(body: bytes) -> None:
    with pytest.raises(OfferError):
        read_offer(body)


def test_ten_thousand_damaged_offers_are_read_or_refused_in_twenty_milliseconds() -> None:
    gc.collect()
    gc.freeze()
    slowest, taken = 0.0, 0
    for body in mutated(REAL, 10_000, seed=7):
        began = time.thread_time()
        try:
            offer = read_offer(body)
        except OfferError as refused:
            assert 400 <= refused.status < 500  # noqa: PT017  # most of ten thousand are refused
        else:
            taken += 1
            # What was taken is written anew, so the library is never shown the damage.
            assert read_offer(offer.to_sdp().encode()) == offer
            SessionDescription.parse(offer.to_sdp())
        slowest = max(slowest, time.thread_time() - began)
    gc.unfreeze()
    assert slowest < 0.02
    assert 1_000 < taken < 9_000
