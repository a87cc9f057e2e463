"""The page on accounts and keys: its commands are run here as they stand."""

import os
import re
import subprocess
import sys
from pathlib import Path

import httpx

from tests.servers.parts import environment
from workers.settings import Settings

PAGE = (Path(__file__).parents[3] / "docs" / "accounts.md").read_text()


def test_the_commands_work_one_after_another(
    client: httpx.Client, system_settings: Settings
) -> None:
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 3
    done = subprocess.run(
        ["bash", "-euc", "\n".join(blocks)],
        env=environment(system_settings)
        | {
            "EDGEWISE_SERVER": str(client.base_url),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    key, *rest = done.stdout.splitlines()
    assert re.fullmatch(r"ew_[\w-]{43}", key)
    assert any(line.startswith("acme ") for line in rest)
    assert any("front desk phone" in line and "talk" in line for line in rest)
    assert '"token":"ewt_' in rest[-1]
    assert '"expires_at":' in rest[-1]
