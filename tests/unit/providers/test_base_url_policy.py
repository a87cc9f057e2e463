"""Which endpoints are allowed: by address, and by what the operator allows."""

import asyncio
import json
import socket
from ipaddress import ip_network
from pathlib import Path

import pytest

from tests.fakes.scripted_resolver import ScriptedResolver
from workers.errors import (
    BlockedAddressError,
    ConfigurationError,
    InvalidBaseUrlError,
    TemporarilyUnresolvedError,
    UnresolvedHostError,
)
from workers.providers.base_url_allow import Allow, operators_allow, parse_allow, users_allow
from workers.providers.base_url_policy import BaseUrlPolicy, check_base_url
from workers.providers.public_address import IpAddress
from workers.settings import Settings

CASES = json.loads((Path(__file__).parents[2] / "data" / "base-url-cases.json").read_text())
# What the name of each case of the file resolves to, as its reason says.
ANSWERS = {
    "127.0.0.1.nip.io": ["127.0.0.1"],
    "10-0-0-5.sslip.io": ["10.0.0.5"],
    "localtest.me": ["127.0.0.1", "::1"],
    "lvh.me": ["127.0.0.1"],
    "spoofed.burpcollaborator.net": ["127.0.0.1"],
    "make-1.2.3.4-rebind-169.254-169.254-rr.1u.ms": ["1.2.3.4", "169.254.169.254"],
    "mixed.attacker.net": ["93.184.215.14", "10.0.0.1"],
    "v6only.attacker.net": ["fd00::1"],
    "nat64.attacker.net": ["64:ff9b::7f00:1"],
    "six4.attacker.net": ["2002:7f00:1::1"],
    "teredo.attacker.net": ["2001:0:4136:e378:8000:63bf:3fff:fdd2"],
    "mapped.attacker.net": ["::ffff:127.0.0.1"],
    "meta.attacker.net": ["169.254.169.254"],
    "cgnat.attacker.net": ["100.100.100.200"],
    "zero.attacker.net": ["0.0.0.0"],
    "wireserver.attacker.net": ["168.63.129.16"],
    "ghost.attacker.net": [],
}


@pytest.mark.parametrize("case", CASES["reject_by_address"], ids=lambda case: case["why"])
async def test_it_is_refused_by_its_addresses(case: dict[str, str]) -> None:
    host = BaseUrlPolicy().judge_text(case["url"]).host
    resolver = ScriptedResolver(ANSWERS[host])

    with pytest.raises((BlockedAddressError, UnresolvedHostError)) as refused:
        await check_base_url(case["url"], BaseUrlPolicy(), resolver)

    assert resolver.asked == [host]
    for address in ANSWERS[host]:
        assert address not in str(refused.value)


async def test_a_name_with_public_addresses_only_is_accepted_and_normalised() -> None:
    resolver = ScriptedResolver(["1.1.1.1", "2606:4700::1111"])

    url = await check_base_url("https://API.example.com:443/v1/", BaseUrlPolicy(), resolver)

    assert str(url) == "https://api.example.com/v1"


@pytest.mark.parametrize("position", [0, 1, 2])
async def test_one_address_that_is_not_public_is_enough_to_refuse_wherever_it_stands(
    position: int,
) -> None:
    answer = ["1.1.1.1", "2606:4700::1111"]
    answer.insert(position, "10.0.0.1")

    with pytest.raises(BlockedAddressError):
        await check_base_url("https://a.example.com", BaseUrlPolicy(), ScriptedResolver(answer))


@pytest.mark.parametrize(
    "setting", ["EDGEWISE_LLM_ALLOW", "EDGEWISE_TOOLS_ALLOW", "EDGEWISE_WEBHOOK_ALLOW"]
)
async def test_every_blocked_name_gets_the_same_words_which_name_the_setting(setting: str) -> None:
    policy, words = BaseUrlPolicy(parse_allow("", setting)), set()
    for address in ("127.0.0.1", "10.9.8.7", "169.254.169.254", "fd00::1"):
        with pytest.raises(BlockedAddressError) as refused:
            await check_base_url("https://a.example.com", policy, ScriptedResolver([address]))
        words.add(str(refused.value))
    assert words == {f"the host is not public, and the operator does not allow it ({setting})"}


async def test_a_resolver_that_hangs_is_given_up() -> None:
    async def hang(_host: str) -> tuple[IpAddress, ...]:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(TemporarilyUnresolvedError, match="in time"):
        await check_base_url("https://a.example.com", BaseUrlPolicy(), hang, deadline_s=0.01)


@pytest.mark.parametrize(
    ("error", "is_temporary"),
    [
        (socket.gaierror(socket.EAI_AGAIN, "try again"), True),
        (socket.gaierror(socket.EAI_SYSTEM, "no file descriptors"), True),
        (socket.gaierror(socket.EAI_NONAME, "no such name"), False),
        (socket.gaierror(socket.EAI_NODATA, "no address"), False),
        (socket.gaierror(socket.EAI_FAIL, "the server refuses"), False),
    ],
)
async def test_name_servers_that_are_away_say_nothing_about_the_name(
    monkeypatch: pytest.MonkeyPatch, error: socket.gaierror, *, is_temporary: bool
) -> None:
    def look_up(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with pytest.raises(UnresolvedHostError) as caught:
        await check_base_url("https://a.example.com", BaseUrlPolicy())
    assert isinstance(caught.value, TemporarilyUnresolvedError) is is_temporary


def test_the_operator_s_list_holds_hosts_with_and_without_port_and_networks() -> None:
    allow = parse_allow(" Ollama.lan:11434, vllm.lan ,10.0.0.0/8, fd12::/16,[::1]:8000,::2,1.2.3.4")

    assert allow == Allow(
        hosts=frozenset(
            {
                ("ollama.lan", 11434),
                ("vllm.lan", None),
                ("::1", 8000),
                ("::2", None),
                ("1.2.3.4", None),
            }
        ),
        networks=(ip_network("10.0.0.0/8"), ip_network("fd12::/16")),
    )
    assert parse_allow("") == parse_allow(" , ") == Allow()


@pytest.mark.parametrize(
    "text",
    ["10.0.0.1/8", "10.0.0.0/33", "http://a.lan", "a.lan:0", "a b", "*.lan", "169.254.169.254:80"],
)
def test_a_list_that_cannot_be_meant_is_refused_by_the_setting_s_name(text: str) -> None:
    with pytest.raises(ConfigurationError, match="EDGEWISE_LLM_ALLOW"):
        parse_allow(f"ollama.lan,{text}")


async def resolved(url: str, allow: str, *addresses: str) -> str:
    policy = BaseUrlPolicy(parse_allow(allow))
    return str(await check_base_url(url, policy, ScriptedResolver(addresses)))


@pytest.mark.parametrize(
    ("url", "allow", "address"),
    [
        ("http://ollama.lan:11434/v1", "ollama.lan:11434", "192.168.1.5"),
        ("https://ollama.lan:11434/v1", "ollama.lan:11434", "192.168.1.5"),
        ("http://ollama:8000", "ollama", "172.18.0.3"),
        ("http://localhost:11434/v1", "localhost:11434", "127.0.0.1"),
        ("http://10.1.2.3:8000/v1", "10.0.0.0/8", "10.1.2.3"),
        ("http://10.1.2.3:8000/v1", "10.1.2.3:8000", "10.1.2.3"),
        ("http://10.1.2.3:443/v1", "10.0.0.0/8", "10.1.2.3"),
        ("http://vllm.example.com:8000/v1", "10.0.0.0/8", "10.1.2.3"),
        ("https://vllm.example.com/v1", "10.0.0.0/8", "10.1.2.3"),
        ("http://vllm.lan/v1", "10.0.0.0/8", "10.1.2.3"),
        ("http://[fd12::5]:8000/v1", "fd12::/16", "fd12::5"),
        ("https://api.example.com:8443/v1", "api.example.com:8443", "1.1.1.1"),
        ("https://api.openai.com/v1", "10.0.0.0/8,ollama.lan", "1.1.1.1"),
    ],
)
async def test_what_the_operator_allows_is_accepted_by_http_too(
    url: str, allow: str, address: str
) -> None:
    assert await resolved(url, allow, address) == url


@pytest.mark.parametrize(
    ("url", "allow", "address"),
    [
        ("http://ollama.lan:11435/v1", "ollama.lan:11434", "192.168.1.5"),
        ("http://other.lan:11434/v1", "ollama.lan:11434", "192.168.1.5"),
        ("http://a.ollama.lan:11434/v1", "ollama.lan:11434", "192.168.1.5"),
        ("https://api.example.com/v1", "10.0.0.0/8", "192.168.1.5"),
        ("http://api.example.com:8000/v1", "10.0.0.0/8", "1.1.1.1"),
        ("https://api.example.com:8443/v1", "10.0.0.0/8", "1.1.1.1"),
        ("http://api.example.com:443/v1", "10.0.0.0/8", "1.1.1.1"),
        ("http://api.example.com/v1", "10.0.0.0/8", "1.1.1.1"),
        ("https://vllm.lan/v1", "10.0.0.0/8", "1.1.1.1"),
        ("http://11.0.0.1:8000/v1", "10.0.0.0/8", "11.0.0.1"),
        ("http://[::ffff:10.0.0.1]:8000/v1", "10.0.0.0/8", "10.0.0.1"),
    ],
)
async def test_what_the_operator_does_not_allow_stays_refused(
    url: str, allow: str, address: str
) -> None:
    with pytest.raises((BlockedAddressError, InvalidBaseUrlError)):
        await resolved(url, allow, address)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://meta.lan/v1", "169.254.169.254"),
        ("http://meta.lan/v1", "fd00:ec2::254"),
        ("http://meta.lan/v1", "::ffff:169.254.169.254"),
        ("http://169.254.169.254/latest", "169.254.169.254"),
        ("http://100.100.100.200/latest", "100.100.100.200"),
        ("http://[fd00:ec2::254]/latest", "fd00:ec2::254"),
        ("http://meta.lan/v1", "fd00:a9fe:a9fe::1"),
        ("http://[fd00:a9fe:a9fe::1]/v1/instance", "fd00:a9fe:a9fe::1"),
    ],
)
async def test_cloud_metadata_is_refused_whatever_is_allowed(url: str, address: str) -> None:
    with pytest.raises(BlockedAddressError):
        await resolved(url, "meta.lan,0.0.0.0/0,::/0", address)


@pytest.mark.parametrize("url", ["http://169.254.169.254/latest", "https://[fd00:ec2::254]/"])
def test_cloud_metadata_written_as_an_address_is_refused_by_text(url: str) -> None:
    with pytest.raises(BlockedAddressError):
        BaseUrlPolicy(parse_allow("0.0.0.0/0,::/0")).judge_text(url)


def test_the_operator_s_own_endpoints_are_allowed_to_the_operator_alone() -> None:
    settings = Settings(
        _env_file=None,
        managed_llm_base_url="http://vllm:8000/v1",
        llm_gateway_port=8301,
        llm_allow="10.0.0.0/8",
    )

    own, users = operators_allow(settings), users_allow(settings)

    assert own.names("vllm", 8000)
    assert own.names("127.0.0.1", 8301)
    assert own.networks == users.networks == (ip_network("10.0.0.0/8"),)
    assert users.hosts == frozenset()


def test_a_managed_model_whose_url_is_none_is_the_operator_s_to_mend() -> None:
    settings = Settings(_env_file=None, managed_llm_base_url="vllm:8000")

    with pytest.raises(ConfigurationError, match="EDGEWISE_MANAGED_LLM_BASE_URL"):
        operators_allow(settings)
