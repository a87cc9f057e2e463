import subprocess
import sys

import pytest

HEAVY = {"celery", "kombu", "redis", "sqlalchemy", "fastapi", "workers"}
RIM = {"asyncio", "socket", "time", "threading", "aiortc", "av"}

PRINT_MODULES = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
print(*sorted({module.split(".")[0] for module in sys.modules}))
"""


def loaded_by(*modules: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", PRINT_MODULES, *modules],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(done.stdout.split())


def test_all_of_edge_media_loads_no_server_library() -> None:
    names = ["opus", "resample", "detector", "gate", "receive_buffer", "rtp"]

    assert not loaded_by(*(f"edge.media.{name}" for name in names)) & HEAVY


@pytest.mark.parametrize("module", ["edge.media.gate", "edge.media.receive_buffer"])
def test_a_pure_module_loads_no_clock_no_socket_and_no_media_library(module: str) -> None:
    # What Python itself has loaded before (time, say) is no doing of the module.
    assert not (loaded_by(module) - loaded_by("dataclasses", "collections")) & RIM
