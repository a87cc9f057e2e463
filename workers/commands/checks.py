"""What a server needs from its machine, one function per need."""

import contextlib
import ctypes.util
import importlib.util
import ipaddress
import os
import socket
import stat
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

from redis import Redis
from redis.exceptions import RedisError

from workers.commands.check import Check
from workers.commands.check_circuits import check_circuits
from workers.commands.check_endpoint import check_endpoint
from workers.commands.check_names import check_names
from workers.errors import EdgewiseError
from workers.settings import Settings
from workers.supervision.addresses import Listener, address_of
from workers.supervision.embedded_redis import redis_binary

OLDEST_PYTHON: Final = (3, 11)
ANSWER_S: Final = 3.0
OTHERS: Final = 0o077


def run_checks(settings: Settings) -> list[Check]:
    """Look at everything that the settings in force ask for; takes a few seconds at most."""
    checks: list[Callable[[Settings], Check]] = [
        check_python,
        check_home,
        check_redis,
        check_database,
        check_speech_to_text,
        check_text_to_speech,
        check_gateway_port,
        check_llm_gateway_port,
        check_exposure,
        check_model,
        check_llm_allow,
        check_ca_file,
        check_circuits,
        check_portaudio,
        check_names,
    ]
    return [check(settings) for check in checks]


def check_python(_settings: Settings) -> Check:
    """Look at the version of Python."""
    return Check(
        "Python",
        sys.version_info >= OLDEST_PYTHON,
        sys.version.split()[0],
        "install Python 3.11 or later and run `make setup` with it (PYTHON=python3.11)",
    )


def check_home(settings: Settings) -> Check:
    """Look at the home: ours, writable, closed to others."""
    home, name = settings.home_path, "home"
    if not home.exists():
        above = next(folder for folder in home.parents if folder.exists())
        return Check(
            name,
            os.access(above, os.W_OK),
            f"{home} will be made",
            f"{above} cannot be written: set EDGEWISE_HOME to a folder of your own",
        )
    about = home.stat()
    if about.st_uid != os.geteuid() or not os.access(home, os.W_OK):
        return Check(name, ok=False, found=f"{home} is not yours", mend="set EDGEWISE_HOME")
    mode = stat.S_IMODE(about.st_mode)
    return Check(name, not mode & OTHERS, f"{home}, mode {mode:o}", f"`chmod 700 {home}`")


def check_redis(settings: Settings) -> Check:
    """Look for the Redis in force: it answers, or there is a program to start."""
    if settings.redis_url is None:
        try:
            return Check("Redis", ok=True, found=f"private, {redis_binary()}")
        except EdgewiseError as error:
            return Check("Redis", ok=False, found="none", mend=str(error))
    mend = "start it, or mend EDGEWISE_REDIS_URL; unset, `edgewise up` starts a private one"
    try:
        with Redis.from_url(
            settings.redis_url, socket_timeout=ANSWER_S, socket_connect_timeout=ANSWER_S
        ) as client:
            client.ping()
    except (RedisError, OSError, ValueError) as error:
        return Check("Redis", ok=False, found=type(error).__name__, mend=mend)
    return Check("Redis", ok=True, found="answers")


def check_database(settings: Settings) -> Check:
    """Look whether the database answers; SQLite in the home needs nothing."""
    if settings.database_url is None:
        return Check("database", ok=True, found="SQLite in the home")
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415  # only where a database is named

    from workers.storage.database import open_engine, reading  # noqa: PLC0415  # the same

    try:
        engine = open_engine(settings)
        try:
            with reading(engine):
                return Check("database", ok=True, found=f"{engine.dialect.name} answers")
        finally:
            engine.dispose()
    except (EdgewiseError, ImportError, ValueError, ArgumentError) as error:
        mend = "start it, or mend EDGEWISE_DATABASE_URL; PostgreSQL needs `edgewise[postgres]`"
        return Check("database", ok=False, found=type(error).__name__, mend=mend)


def check_speech_to_text(settings: Settings) -> Check:
    """Look for the speech-to-text engine in force."""
    name = "speech-to-text"
    if settings.stt_engine == "openai":
        return check_endpoint(
            name, "EDGEWISE_STT", settings.stt_base_url, settings.stt_api_key, settings
        )
    if settings.stt_engine == "scripted":
        return Check(name, ok=True, found=settings.stt_engine)
    return _package(name, "pocketsphinx")


def check_text_to_speech(settings: Settings) -> Check:
    """Look for the text-to-speech engine in force."""
    name = "text-to-speech"
    if settings.tts_engine == "openai":
        return check_endpoint(
            name, "EDGEWISE_TTS", settings.tts_base_url, settings.tts_api_key, settings
        )
    return _package(name, "espeakng_loader")


def _package(name: str, module: str) -> Check:
    there = importlib.util.find_spec(module) is not None
    found = module if there else f"no {module}"
    return Check(name, there, found, "`pip install 'edgewise[workers]'`")


def check_gateway_port(settings: Settings) -> Check:
    """Look whether the gateway can listen."""
    return _port("gateway port", "gateway", settings.host, settings.port, settings)


def check_llm_gateway_port(settings: Settings) -> Check:
    """Look whether the LLM gateway can listen; `edgewise up` takes a free port by itself."""
    host, port = settings.llm_gateway_host, settings.llm_gateway_port
    return _port("llm_gateway port", "llm-gateway", host, port, settings, needed=False)


def _port(
    name: str, part: Listener, host: str, port: int, settings: Settings, *, needed: bool = True
) -> Check:
    if port == 0:
        return Check(name, ok=True, found="a free one", needed=needed)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        if _is_ours(settings, part, port):
            return Check(name, ok=True, found=f"{port}, the system is running", needed=needed)
        variable = "EDGEWISE_" + name.replace(" ", "_").upper().removeprefix("GATEWAY_")
        found = f"{host} port {port}: {error.strerror}"
        mend = f"stop what listens there, or set {variable} (0 takes a free one)"
        return Check(name, ok=False, found=found, mend=mend, needed=needed)
    return Check(name, ok=True, found=f"{port} is free", needed=needed)


def _is_ours(settings: Settings, part: Listener, port: int) -> bool:
    with contextlib.suppress(ValueError):
        return urlsplit(address_of(settings, part) or "").port == port
    return False


def check_exposure(settings: Settings) -> Check:
    """Look who can reach the gateway, and whether a key of the operator's own guards it."""
    name, host = "exposure", settings.host
    with contextlib.suppress(ValueError):
        if host == "localhost" or ipaddress.ip_address(host).is_loopback:
            return Check(name, ok=True, found=f"{host}: this machine only")
    return Check(
        name,
        settings.api_key is not None,
        f"{host}: other machines, in clear text",
        "set EDGEWISE_API_KEY to a key of your own, and put a TLS proxy in front",
    )


def check_model(settings: Settings) -> Check:
    """Ask the managed model's endpoint whether it is there; without one a responder answers."""
    name, variables = "managed model", "EDGEWISE_MANAGED_LLM"
    url, key = settings.managed_llm_base_url, settings.managed_llm_api_key
    if not url:
        found = "the built-in offline responder"
        mend = f"set {variables}_BASE_URL, _MODEL and _API_KEY to talk to a language model"
        return Check(name, ok=False, found=found, mend=mend, needed=False)
    check = check_endpoint(name, variables, url, key, settings)
    if not check.ok:
        return check
    if "managed_llm_model" not in settings.model_fields_set:
        mend = f"set {variables}_MODEL to a name that the endpoint knows"
        return Check(name, ok=False, found="an endpoint, and no model", mend=mend)
    return replace(check, found=f"{settings.managed_llm_model}: {check.found}")


def check_llm_allow(settings: Settings) -> Check:
    """Look how the list of allowed model endpoints is written."""
    from workers.providers.base_url_allow import users_allow  # noqa: PLC0415  # loads httpx and more

    name = "model endpoints"
    try:
        allow = users_allow(settings)
    except EdgewiseError as error:
        return Check(name, ok=False, found=str(error), mend="docs/base-url.md shows the form")
    count = len(allow.hosts) + len(allow.networks)
    public = "https on the public internet"
    return Check(name, ok=True, found=f"{public}, and {count} allowed" if count else public)


def check_ca_file(settings: Settings) -> Check:
    """Look whether the operator's certificate authorities can be read."""
    from workers.providers.trust import trusted_authorities  # noqa: PLC0415  # loads httpx and more

    name = "certificates"
    try:
        trusted_authorities(settings)
    except EdgewiseError as error:
        return Check(name, ok=False, found=str(error), mend="docs/base-url.md says what it holds")
    more = "" if settings.ca_file is None else f", and those of {settings.ca_file}"
    return Check(name, ok=True, found=f"the public authorities{more}")


def check_portaudio(_settings: Settings) -> Check:
    """Look for PortAudio, which only a device with a microphone on this machine needs."""
    library = ctypes.util.find_library("portaudio")
    mend = "for a microphone on this machine: `apt-get install libportaudio2`"
    return Check("PortAudio", bool(library), library or "none", mend, needed=False)
