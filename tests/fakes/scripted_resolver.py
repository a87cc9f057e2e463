"""A name service that a test controls."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address

from workers.errors import UnresolvedHostError
from workers.providers.public_address import IpAddress


class ScriptedResolver:
    """Answers with what it was told, one answer after another; the last one stays."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.asked: list[str] = []
        self._answers = _last_stays(answers)

    async def __call__(self, host: str) -> tuple[IpAddress, ...]:
        self.asked.append(host)
        addresses = tuple(map(ip_address, next(self._answers)))
        if not addresses:
            raise UnresolvedHostError("the host's name has no address")
        return addresses


def _last_stays(answers: Sequence[Sequence[str]]) -> Iterator[Iterable[str]]:
    return itertools.chain(answers, itertools.repeat(answers[-1]))
