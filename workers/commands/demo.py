"""`edgewise demo`: a whole system of its own, one question, one answer, and nothing left."""

import asyncio
import contextlib
import json
import os
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import av
import httpx
from dotenv import dotenv_values
from rich.console import Console

from workers.commands.question import QUESTIONS, speak_question
from workers.errors import EdgewiseError
from workers.supervision.tether import tethered

UP_S: Final = 40.0
STOP_S: Final = 6.0
TALK_S: Final = 90.0
INTERRUPTED: Final = 130
OWN: Final = {
    "EDGEWISE_HOST": "127.0.0.1",
    "EDGEWISE_PORT": "0",
    "EDGEWISE_LLM_GATEWAY_HOST": "127.0.0.1",
    "EDGEWISE_LLM_GATEWAY_PORT": "0",
}
NOT_TAKEN_OVER: Final = ("EDGEWISE_REDIS_URL", "EDGEWISE_BROKER_URL", "EDGEWISE_DATABASE_URL")
"""Keeps the demo off a real system, whatever the environment and .env say."""
AGENT: Final = {
    "name": "Demo",
    "system_prompt": "You are a voice assistant. Answer in one short sentence.",
    "voice": {"voice_id": "ivy"},
}


class DemoError(EdgewiseError):
    """The demo could not be shown; the message says why."""


def run_demo(wav: Path | None, out: Path) -> int:
    """Show the demo on the terminal; return 0 if the question was answered, 130 after Ctrl-C."""
    console = Console(highlight=False, soft_wrap=True)
    if wav is not None:
        _check_recording(wav)
    with contextlib.suppress(KeyboardInterrupt):
        return asyncio.run(_until_stopped(console, wav, out))
    return INTERRUPTED


def _check_recording(wav: Path) -> None:
    """Raise DemoError where a file is no recording, before anything is started for it."""
    if not wav.is_file():
        raise DemoError(f"there is no recording {wav}")
    with contextlib.suppress(av.FFmpegError, ValueError), av.open(str(wav)) as container:
        if container.streams.audio:
            return
    raise DemoError(f"{wav} is no audio file that can be read; pass a recording such as a WAV file")


async def _until_stopped(console: Console, wav: Path | None, out: Path) -> int:
    demo = asyncio.create_task(_demo(console, wav, out), name="demo")
    stopped_by: list[signal.Signals] = []

    def stop(number: signal.Signals) -> None:
        if not stopped_by:  # once is enough: what runs is stopped in order
            stopped_by.append(number)
            demo.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
    try:
        return await demo
    except asyncio.CancelledError:
        if not stopped_by:
            raise
        console.print("stopped; nothing is left running")
        return 128 + stopped_by[0]


async def _demo(console: Console, wav: Path | None, out: Path) -> int:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="edgewise-demo-") as folder:
        env = _environment(Path(folder))
        _step(console, "starting Redis, LLM gateway, gateway, config worker and turn worker")
        async with _system(env, folder) as url:
            _step(console, f"the system listens on {url} after {time.monotonic() - began:.1f} s")
            agent = await _create_agent(url, env["EDGEWISE_API_KEY"])
            _step(console, f"POST /v1/agents made {agent}")
            wavs = [wav] if wav else await _spoken(Path(folder), console)
            _step(console, "edgewise-device talk says it over WebRTC, and hears the answer:")
            console.print()
            code = await _talk(env, url, agent, wavs, out)
            console.print()
            _step(console, "stopping everything")
    if code == 0:
        _step(console, f"the reply is in {out}; {time.monotonic() - began:.1f} s in all")
    else:
        _step(console, "the question got no answer")
    return code


def _environment(folder: Path) -> dict[str, str]:
    """Return the settings in force, the model's among them, with home, key and stores of its own.

    The demo's system runs in its own folder, where there is no .env to read once more.
    """
    given = {name: value for name, value in dotenv_values(".env").items() if value}
    env = {**given, **os.environ, **OWN, "EDGEWISE_HOME": str(folder / "home")}
    env["EDGEWISE_API_KEY"] = secrets.token_urlsafe(32)
    return {name: value for name, value in env.items() if name not in NOT_TAKEN_OVER}


async def _spoken(folder: Path, console: Console) -> list[Path]:
    wavs = []
    for number, question in enumerate(QUESTIONS, start=1):
        wavs.append(folder / f"question-{number}.wav")
        await speak_question(wavs[-1], question)
        _step(console, f'espeak-ng speaks the question "{question}"')
    return wavs


def _step(console: Console, text: str) -> None:
    console.print(f"▸ {text}", markup=False, style="bold")


@contextlib.asynccontextmanager
async def _system(env: dict[str, str], folder: str) -> AsyncIterator[str]:
    """Run `edgewise up` and yield where it listens."""
    command = [sys.executable, "-m", "workers.main", "up", "--json"]
    process = await asyncio.create_subprocess_exec(
        *tethered(command, signal.SIGTERM),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        env=env,
        cwd=folder,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None  # noqa: S101  # asked for above
        try:
            line = await asyncio.wait_for(process.stdout.readline(), UP_S)
        except TimeoutError:
            raise DemoError(f"the system did not start within {UP_S:.0f} s") from None
        if not line:
            raise DemoError("the system did not start; see above")
        yield str(json.loads(line)["url"])
    finally:
        await _stop(process)


async def _create_agent(url: str, key: str) -> str:
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(trust_env=False, timeout=10, headers=headers) as http:
        try:
            answer = await http.post(f"{url}/v1/agents", json=AGENT)
            return str(answer.raise_for_status().json()["id"])
        except httpx.HTTPError as error:
            raise DemoError(f"no agent was made: {error}") from None


async def _talk(env: dict[str, str], url: str, agent: str, wavs: list[Path], out: Path) -> int:
    """Run the device as a user would; its own words go to the terminal."""
    command = [sys.executable, "-m", "edge", "talk", "--server", url, "--agent", agent]
    said = [word for wav in wavs for word in ("--wav", str(wav))]
    process = await asyncio.create_subprocess_exec(
        *tethered([*command, *said, "--out", str(out)], signal.SIGKILL),
        stdin=asyncio.subprocess.DEVNULL,
        env=env,
    )
    try:
        return await asyncio.wait_for(process.wait(), TALK_S)
    except TimeoutError:
        raise DemoError(f"the device was not done within {TALK_S:.0f} s") from None
    finally:
        await _stop(process)


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOP_S)
    except TimeoutError:
        process.kill()
        await process.wait()
