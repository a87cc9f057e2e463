"""The grammar of a model endpoint's `base_url`: pure, and narrower than what URLs may be.

A subset of RFC 3986 on which no two URL parsers disagree: ASCII, no user, query, fragment,
percent-encoding, backslash or dot segment; a host is a name of plain labels, four plain decimal
numbers, or an IPv6 address in brackets.
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

import idna

from workers.errors import InvalidBaseUrlError
from workers.providers.public_address import IpAddress

MAX_LENGTH: Final = 2_048
MAX_NAME: Final = 253
HTTPS_PORT: Final = 443
_PORTS: Final = {"http": 80, "https": HTTPS_PORT}
_MAX_PORT: Final = 65_535

_URL: Final = re.compile(
    r"(?P<scheme>https?)://(?P<authority>[^/]*)(?P<path>/.*)?", re.IGNORECASE | re.ASCII
)
_AUTHORITY: Final = re.compile(
    r"(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?P<port>:[0-9]{1,5})?", re.IGNORECASE | re.ASCII
)
_PATH: Final = re.compile(r"[A-Za-z0-9/._~!$&'()*+,;=:@-]*", re.ASCII)
_LABEL: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
"""Letters, digits, hyphens; underscores because containers have them in their names."""
_OCTET: Final = re.compile(r"0|[1-9][0-9]{0,2}", re.ASCII)
_ENDS_IN_A_NUMBER: Final = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)", re.ASCII)
"""WHATWG URL, "ends in a number checker": such a host is an IPv4 address or nothing."""


@dataclass(frozen=True)
class BaseUrl:
    """A `base_url` in its one normal form: lower case, port if unusual, no slash at the end."""

    scheme: str
    host: str
    """A name without a dot at its end, or an IP address without brackets."""
    port: int
    path: str

    @property
    def address(self) -> IpAddress | None:
        """The IP address, if the host is one."""
        return as_address(self.host)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.path}"


def parse_base_url(text: str) -> BaseUrl:
    """Return the URL's parts in normal form; raises InvalidBaseUrlError."""
    if len(text) > MAX_LENGTH:
        raise InvalidBaseUrlError(f"the URL is longer than {MAX_LENGTH} characters")
    if not text.isascii():
        raise InvalidBaseUrlError("the URL holds other than ASCII; write the name in its xn-- form")
    _refuse_marks(text)
    url = _URL.fullmatch(text)
    if url is None:
        raise InvalidBaseUrlError(
            "the URL does not begin with https:// (http:// where it is allowed) and a host"
        )
    scheme = url["scheme"].lower()
    host, port = parse_authority(url["authority"])
    path = _path(url["path"] or "")
    return BaseUrl(scheme, host, _PORTS[scheme] if port is None else port, path)


def parse_authority(text: str) -> tuple[str, int | None]:
    """Return host and port of `host[:port]`, normalised; raises InvalidBaseUrlError."""
    parts = _AUTHORITY.fullmatch(text)
    if parts is None:
        raise InvalidBaseUrlError("the URL has no plain host, or a port that is none")
    host = parts["host"].lower()
    port = None if parts["port"] is None else int(parts["port"][1:])
    if port is not None and not 0 < port <= _MAX_PORT:
        raise InvalidBaseUrlError("the URL's port is none")
    if host.startswith("["):
        return _v6(host[1:-1]), port
    host = host.removesuffix(".")
    return (_v4(host) if _ENDS_IN_A_NUMBER.fullmatch(host) else _name(host)), port


def normal_host(host: str) -> str:
    """Return a host as `BaseUrl` has it, from one that a library spells in its own way."""
    address = as_address(host)
    return host.lower().removesuffix(".") if address is None else str(address)


def as_address(host: str) -> IpAddress | None:
    """Return the IP address that a normalised host is, None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _refuse_marks(text: str) -> None:
    if any(not 0x21 <= ord(character) <= 0x7E for character in text):  # noqa: PLR2004  # "!" to "~"
        raise InvalidBaseUrlError("the URL holds a space or a control character")
    for mark, what in (("\\", "a backslash"), ("?", "a query"), ("#", "a fragment")):
        if mark in text:
            raise InvalidBaseUrlError(f"the URL has {what}")
    if "%" in text:
        raise InvalidBaseUrlError("the URL has percent-encoded characters")


def _path(text: str) -> str:
    path = text.removesuffix("/")
    if not _PATH.fullmatch(path):
        raise InvalidBaseUrlError("the URL's path has characters that none needs")
    if any(segment in ("", ".", "..") for segment in path.split("/")[1:]):
        raise InvalidBaseUrlError("the URL's path has an empty or a dot segment")
    return path


def _v6(text: str) -> str:
    try:
        return str(ipaddress.IPv6Address(text))
    except ValueError:
        raise InvalidBaseUrlError("there is no IPv6 address in the brackets") from None


def _v4(host: str) -> str:
    octets = host.split(".")
    if len(octets) != 4 or not all(  # noqa: PLR2004  # an IPv4 address has four
        _OCTET.fullmatch(octet) and int(octet) <= 255  # noqa: PLR2004  # a byte
        for octet in octets
    ):
        raise InvalidBaseUrlError("an IPv4 address is written as four decimal numbers up to 255")
    return host


def _name(host: str) -> str:
    if len(host) > MAX_NAME or not all(map(_LABEL.fullmatch, host.split("."))):
        raise InvalidBaseUrlError("the host's name is not well formed")
    if any(label.startswith("xn--") for label in host.split(".")):
        try:
            idna.decode(host)
        except idna.IDNAError:
            raise InvalidBaseUrlError("the host's xn-- name is not well formed") from None
    return host
