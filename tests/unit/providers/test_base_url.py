"""`base_url`, by text alone: the cases of the file, and what must hold for any text."""

import json
import string
from pathlib import Path

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from workers.errors import BlockedAddressError, InvalidBaseUrlError
from workers.providers.base_url import BaseUrl, parse_base_url
from workers.providers.base_url_policy import BaseUrlPolicy

CASES = json.loads((Path(__file__).parents[2] / "data" / "base-url-cases.json").read_text())
POLICY = BaseUrlPolicy()
NAMES = st.from_regex(r"[a-zA-Z0-9]{1,8}(-[a-z0-9]{1,4})?(\.[a-z]{2,6}){1,3}", fullmatch=True)
PATHS = st.lists(
    st.text(string.ascii_letters + string.digits + "-_~", min_size=1, max_size=8), max_size=4
)


def test_the_file_has_all_its_cases() -> None:
    counts = [len(CASES[kind]) for kind in ("reject", "reject_by_address", "accept")]
    assert counts == [64, 17, 12]


@pytest.mark.parametrize("case", CASES["reject"], ids=lambda case: case["why"])
def test_it_is_refused_by_its_text(case: dict[str, str]) -> None:
    with pytest.raises((InvalidBaseUrlError, BlockedAddressError)):
        POLICY.judge_text(case["url"])


@pytest.mark.parametrize("url", CASES["accept"])
def test_it_is_accepted(url: str) -> None:
    judged = POLICY.judge_text(url)

    assert str(judged) == url.lower().removesuffix("/").replace(":443", "")


@pytest.mark.parametrize("case", CASES["reject_by_address"], ids=lambda case: case["why"])
def test_its_text_alone_is_fine_where_only_its_addresses_are_not(case: dict[str, str]) -> None:
    assert POLICY.judge_text(case["url"]).address is None


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("https://API.Example.com./v1/", "https://api.example.com/v1"),
        ("https://example.com", "https://example.com"),
        ("https://example.com/", "https://example.com"),
        ("https://[2606:4700:0:0::1111]:443/v1", "https://[2606:4700::1111]/v1"),
        ("HTTP://Example.com:80/V1", "http://example.com/V1"),
        ("http://example.com:443/v1", "http://example.com:443/v1"),
        ("https://host_name.example.com:08443/a/@b", "https://host_name.example.com:8443/a/@b"),
    ],
)
def test_the_normal_form_is_one(text: str, normal: str) -> None:
    assert str(parse_base_url(text)) == normal
    assert parse_base_url(normal) == parse_base_url(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "begin with https"),
        ("https://", "no plain host"),
        ("https://example.com:/v1", "a port that is none"),
        ("https://example.com:0/v1", "port is none"),
        ("https://example..com/v1", "not well formed"),
        ("https://.example.com/v1", "not well formed"),
        (f"https://{'a' * 64}.com/v1", "not well formed"),
        (f"https://{'a.' * 127}com/v1", "not well formed"),
        ("https://xn--a.com/v1", "xn-- name"),
        ("https://bücher.ch/v1", "xn-- form"),
        ("https://[::1%25eth0]/v1", "percent"),
        ("https://[v1.fe80]/v1", "no plain host"),
        ("https://[1::2::3]/v1", "no IPv6"),
        ("https://1.2.3.4.5/v1", "four decimal"),
        ("https://1.2.3.0x4/v1", "four decimal"),
        ("https://1.2.3.4./v1/../x", "dot segment"),
        ("https://example.com//v1", "empty"),
        ("https://example.com/v1//", "empty"),
        ("https://example.com/v1/./x", "dot segment"),
        ('https://example.com/"', "path"),
        ("https://example.com/v1\x00", "control"),
        ("https://example.com/v1\n", "control"),
        ("\thttps://example.com/v1", "control"),
    ],
)
def test_bad_text_is_refused_with_the_rule_it_broke(text: str, says: str) -> None:
    with pytest.raises(InvalidBaseUrlError, match=says) as refused:
        parse_base_url(text)
    assert refused.value.code == "invalid_value"


@pytest.mark.parametrize(
    "url",
    [
        "https://metadata.google.internal/v1",
        "https://printer.lan/v1",
        "https://intranet/v1",
        "https://LOCALHOST/v1",
        "https://a.localhost/v1",
        "https://10.in-addr.arpa/v1",
        "https://127.0.0.1/v1",
        "https://[::ffff:10.0.0.1]/v1",
    ],
)
def test_names_and_addresses_of_private_networks_are_blocked(url: str) -> None:
    with pytest.raises(BlockedAddressError) as refused:
        POLICY.judge_text(url)
    assert refused.value.code == "blocked_address"


@pytest.mark.parametrize(
    "url", ["https://1.1.1.1:8443/v1", "http://1.1.1.1/v1", "http://a.com:443"]
)
def test_a_public_host_with_another_port_or_plain_http_is_an_invalid_value(url: str) -> None:
    with pytest.raises(InvalidBaseUrlError):
        POLICY.judge_text(url)


@given(st.text(max_size=60))
@example("https://example.com:443\u0660/")
@example("https://example.com/\u017f")
def test_any_text_is_refused_or_accepted_and_nothing_else_happens(text: str) -> None:
    for candidate in (text, f"https://{text}", f"https://example.com/{text}"):
        try:
            judged = POLICY.judge_text(candidate)
        except (InvalidBaseUrlError, BlockedAddressError):
            continue
        assert POLICY.judge_text(str(judged)) == judged


@given(NAMES, PATHS, st.one_of(st.none(), st.integers(1, 65_535)))
def test_httpx_reads_in_the_normal_form_what_was_judged(
    name: str, path: list[str], port: int | None
) -> None:
    text = f"https://{name}{'' if port is None else f':{port}'}{''.join(f'/{p}' for p in path)}"
    judged = parse_base_url(text)

    sent = httpx.URL(f"{judged}/chat/completions")

    assert sent.raw_host.decode() == judged.host
    assert (sent.port or 443) == judged.port
    assert sent.raw_path.decode() == f"{judged.path}/chat/completions"
    assert sent.userinfo == b""


@given(st.text(string.ascii_letters + string.digits + ":/@.-[]%\\?#_~!$&'()*+,;=", max_size=40))
def test_no_text_is_read_differently_by_httpx(text: str) -> None:
    try:
        judged = parse_base_url(f"https://{text}")
    except InvalidBaseUrlError:
        return

    as_written, sent = httpx.URL(f"https://{text}"), httpx.URL(str(judged))

    assert as_written.raw_host.decode().lower().removesuffix(".") in (
        judged.host,
        # An IPv6 address may be written in many ways.
        as_written.raw_host.decode().lower() if judged.address is not None else judged.host,
    )
    assert sent.raw_host.decode() == judged.host
    assert (sent.port or 443) == judged.port


def test_a_base_url_shows_no_port_that_goes_without_saying() -> None:
    assert str(BaseUrl("http", "::1", 80, "/v1")) == "http://[::1]/v1"
