"""Where the parts of a running home are, as they say in its folder `run`."""

import contextlib
import json
from typing import Literal

from workers.settings import Settings
from workers.supervision.home import Home

Listener = Literal["redis", "gateway", "llm-gateway"]


def address_of(settings: Settings, part: Listener) -> str | None:
    """Return the URL of a part that runs in this home, None where none says that it does."""
    file = Home(settings.home_path).run / f"{part}.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return str(json.loads(file.read_text())["url"])
    return None


def with_redis_of_home(settings: Settings) -> Settings:
    """Return the settings, with the private Redis of this home where none is named and one runs."""
    if settings.redis_url:
        return settings
    return settings.model_copy(update={"redis_url": address_of(settings, "redis")})
