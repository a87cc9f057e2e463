"""What an operator allows beyond the public internet: `EDGEWISE_LLM_ALLOW`, `…_TOOLS_ALLOW`."""

import ipaddress
from dataclasses import dataclass, replace
from typing import Final

from workers.errors import ConfigurationError, InvalidBaseUrlError
from workers.providers.base_url import as_address, normal_host, parse_authority, parse_base_url
from workers.providers.public_address import IpAddress, IpNetwork, is_metadata
from workers.settings import Settings


@dataclass(frozen=True)
class Allow:
    """Hosts (port None: every port) and networks where endpoints may live, by http as well."""

    hosts: frozenset[tuple[str, int | None]] = frozenset()
    networks: tuple[IpNetwork, ...] = ()
    setting: str = "EDGEWISE_LLM_ALLOW"
    """Where it comes from, for messages."""

    def names(self, host: str, port: int) -> bool:
        """Tell whether this very host is allowed at this port."""
        return not self.hosts.isdisjoint({(host, port), (host, None)})

    def covers(self, address: IpAddress) -> bool:
        """Tell whether the address lies in an allowed network."""
        return any(address in network for network in self.networks)


ALLOW_NOTHING: Final = Allow()
_ENDPOINTS: Final = ("managed_llm_base_url", "stt_base_url", "tts_base_url")
"""Settings in which the operator names an endpoint."""


def parse_allow(text: str, setting: str = "EDGEWISE_LLM_ALLOW") -> Allow:
    """Read `ollama.lan:11434,10.0.0.0/8`; raises ConfigurationError, which names the setting."""
    try:
        return replace(_parse(text), setting=setting)
    except ConfigurationError as error:
        raise ConfigurationError(f"{setting}: {error}") from None


def _parse(text: str) -> Allow:
    hosts: set[tuple[str, int | None]] = set()
    networks: list[IpNetwork] = []
    for item in filter(None, (part.strip() for part in text.split(","))):
        if "/" in item:
            networks.append(_network(item))
        else:
            hosts.add(_host(item))
    return Allow(frozenset(hosts), tuple(networks))


def users_allow(settings: Settings) -> Allow:
    """Return what holds for the entries that users configure."""
    return parse_allow(settings.llm_allow)


def tools_allow(settings: Settings) -> Allow:
    """Return what holds for the URLs of HTTP tools."""
    return parse_allow(settings.tools_allow, "EDGEWISE_TOOLS_ALLOW")


def webhooks_allow(settings: Settings) -> Allow:
    """Return what holds for the URLs that webhooks are sent to."""
    return parse_allow(settings.webhook_allow, "EDGEWISE_WEBHOOK_ALLOW")


def operators_allow(settings: Settings) -> Allow:
    """Return what holds for the operator's own endpoints: named in a setting, hence allowed.

    Users' entries must not get this: it opens the hosts of the managed model, the LLM gateway and
    the speech engines.
    """
    allow = users_allow(settings)
    return Allow(allow.hosts | _named_by(settings), allow.networks)


def _named_by(settings: Settings) -> frozenset[tuple[str, int | None]]:
    named: set[tuple[str, int | None]] = {
        (normal_host(settings.llm_gateway_host), settings.llm_gateway_port)
    }
    for setting in _ENDPOINTS:
        if text := getattr(settings, setting):
            try:
                url = parse_base_url(text)
            except InvalidBaseUrlError as error:
                raise ConfigurationError(f"EDGEWISE_{setting.upper()}: {error}") from None
            named.add((url.host, url.port))
    return frozenset(named)


def _network(item: str) -> IpNetwork:
    try:
        return ipaddress.ip_network(item)
    except ValueError:
        raise _refused(item, "no network; write it like 10.0.0.0/8") from None


def _host(item: str) -> tuple[str, int | None]:
    bare_v6 = item.count(":") > 1 and not item.startswith("[")
    try:
        host, port = parse_authority(f"[{item}]" if bare_v6 else item)
    except InvalidBaseUrlError:
        raise _refused(item, "no host; write it like ollama.lan:11434") from None
    address = as_address(host)
    if address is not None and is_metadata(address):
        raise _refused(item, "cloud metadata, which is never allowed")
    return host, port


def _refused(item: str, why: str) -> ConfigurationError:
    return ConfigurationError(f"{item} is {why}")
