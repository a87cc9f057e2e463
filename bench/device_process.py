"""The device program, with an eye on what it takes and sends.

`python -m bench.device_process SAMPLES ARGUMENT…` is `edgewise-device ARGUMENT…`; twice a second
a line of JSON goes to the file SAMPLES: CPU seconds, resident bytes, and datagrams so far.
"""

import asyncio.selector_events
import json
import os
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge.main import app

EVERY_S = 0.5
UDP_HEADER, IPV4_HEADER, IPV6_HEADER = 8, 20, 40
RTP_FIRST_BYTES = range(128, 192)
RTCP_TYPES = range(192, 224)


@dataclass
class Sent:
    """What left as UDP since the start; `wire_bytes` with the headers of UDP and IP."""

    datagrams: int = 0
    rtp: int = 0
    wire_bytes: int = 0

    def count(self, data: bytes, address: Any) -> None:
        """Count a datagram to this address."""
        ip_header = IPV6_HEADER if isinstance(address, tuple) and ":" in address[0] else IPV4_HEADER
        self.datagrams += 1
        self.wire_bytes += len(data) + UDP_HEADER + ip_header
        self.rtp += is_rtp(data)


def is_rtp(data: bytes) -> bool:
    """Tell RTP from everything else that shares its port (RFC 7983 and RFC 5761, section 4)."""
    return len(data) > 1 and data[0] in RTP_FIRST_BYTES and data[1] not in RTCP_TYPES


def watch_datagrams(sent: Sent) -> None:
    """Count every datagram that this process sends through asyncio."""
    transport: Any = asyncio.selector_events._SelectorDatagramTransport  # type: ignore[attr-defined]  # noqa: SLF001  # the last stop before the socket
    send = transport.sendto

    def counting(self: Any, data: bytes, addr: Any = None) -> None:
        sent.count(data, addr)
        send(self, data, addr)

    transport.sendto = counting


def resident_bytes() -> int:
    """Return how much memory the process occupies, shared libraries included (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def write_samples(sent: Sent, file: Path) -> None:
    """Write what was taken and sent so far, twice a second, as long as the process lives."""
    with file.open("w", buffering=1) as stream:
        while True:
            spent = os.times()
            sample = {
                "at": time.monotonic(),
                "cpu_s": spent.user + spent.system,
                "memory": resident_bytes(),
                **asdict(sent),
            }
            stream.write(json.dumps(sample) + "\n")
            time.sleep(EVERY_S)


def main() -> None:
    """Run the device with the remaining arguments."""
    sent = Sent()
    watch_datagrams(sent)
    sampling = (sent, Path(sys.argv.pop(1)))
    threading.Thread(target=write_samples, args=sampling, name="samples", daemon=True).start()
    app()


if __name__ == "__main__":
    main()
