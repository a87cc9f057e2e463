"""How fast a batch of agents is applied, from the post to the last row, on both databases.

Every row has a model of its own with its key. Gateway and config worker are processes; beside
the rate stands how much their memory grew.
"""

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil

from bench.figure import Figure, NotMeasuredError
from tests.servers.parts import Part, running_config_worker, running_gateway
from tests.servers.postgres import running_postgres
from workers.secrets.key_files import keys_folder
from workers.secrets.make_keys import make_missing_keys
from workers.settings import Settings
from workers.supervision.embedded_redis import private_redis

ROWS, QUICK_ROWS = 20_000, 4_000
WARM_UP = 200
"""Rows before those that count: clients connect, modules load."""
POLL_S = 0.05
PATIENCE_S = 300.0
MEBIBYTE = 1_048_576


def run(*, quick: bool) -> list[Figure]:
    """Return rows per second and growth of memory on SQLite and on PostgreSQL."""
    rows = QUICK_ROWS if quick else ROWS
    with tempfile.TemporaryDirectory(prefix="ew-bench-") as folder, running_postgres() as server:
        urls = {"SQLite": None, "PostgreSQL": server.new_database()}
        return [
            figure
            for name, url in urls.items()
            for figure in _measure(name, Path(folder) / name, url, rows)
        ]


def _measure(name: str, home: Path, url: str | None, rows: int) -> list[Figure]:
    home.mkdir()
    with private_redis(home / "redis") as redis_url:
        settings = Settings(
            _env_file=None, home=home, redis_url=redis_url, database_url=url, port=0
        )
        make_missing_keys(keys_folder(home), {})
        with (
            running_gateway(settings) as (gateway, client),
            running_config_worker(settings) as worker,
        ):
            _apply(client, WARM_UP, "warm")
            before = _memory(gateway, worker)
            posted_s, took_s, most = _watch(client, rows, (gateway, worker))
    growth = [(after - start) / MEBIBYTE for start, after in zip(before, most, strict=True)]
    note = f"received after {posted_s:.1f} s, applied after {took_s:.1f} s"
    memory = f"gateway {growth[0]:.0f} MB, config worker {growth[1]:.0f} MB"
    what = f"batch of {rows:,} rows with an LLM entry each, {name}"
    return [
        Figure(f"{what}, posted to applied", rows / took_s, "rows/s", 1_000, "at least", note),
        Figure(f"{what}, memory", max(growth), "MB", 50, note=memory),
    ]


def _watch(
    client: httpx.Client, rows: int, parts: tuple[Part, Part]
) -> tuple[float, float, list[int]]:
    """Apply a batch; return the seconds to its 202 and to its end, and the most memory of each."""
    began = time.monotonic()
    batch_id = _post(client, rows, "row")
    posted_s, most = time.monotonic() - began, _memory(*parts)
    while not _is_done(client, batch_id):
        most = [max(pair) for pair in zip(most, _memory(*parts), strict=True)]
        if time.monotonic() - began > PATIENCE_S:
            raise NotMeasuredError(f"the batch was not applied within {PATIENCE_S:g} s")
        time.sleep(POLL_S)
    return posted_s, time.monotonic() - began, most


def _apply(client: httpx.Client, rows: int, prefix: str) -> None:
    batch_id = _post(client, rows, prefix)
    until = time.monotonic() + PATIENCE_S
    while not _is_done(client, batch_id):
        if time.monotonic() > until:
            raise NotMeasuredError("the first batch was not applied")
        time.sleep(POLL_S)


def _post(client: httpx.Client, rows: int, prefix: str) -> str:
    answer = client.post(
        "/v1/batches",
        content=_body(rows, prefix),
        headers={"Content-Type": "application/x-ndjson"},
        timeout=PATIENCE_S,
    )
    return str(answer.raise_for_status().json()["id"])


def _body(rows: int, prefix: str) -> Iterator[bytes]:
    for number in range(rows):
        row = {
            "external_id": f"{prefix}-{number}",
            "name": f"Agent {number}",
            "system_prompt": "You answer the phone of a small hotel, in one or two sentences.",
            "voice": {"voice_id": "ivy"},
            "llm": [
                {"base_url": "https://8.8.8.8/v1", "model": "m", "api_key": f"sk-{number:032}"}
            ],
        }
        yield json.dumps(row).encode() + b"\n"


def _is_done(client: httpx.Client, batch_id: str) -> bool:
    batch = client.get(f"/v1/batches/{batch_id}").raise_for_status().json()
    if batch["failed"]:
        raise NotMeasuredError(f"{batch['failed']} rows failed")
    return bool(batch["status"] == "done")


def _memory(*parts: Part) -> list[int]:
    return [int(psutil.Process(part.process.pid).memory_info().rss) for part in parts]
