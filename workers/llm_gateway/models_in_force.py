"""The table of models that is in force, read again when its file changes."""

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import structlog

from workers.errors import ConfigurationError
from workers.llm_gateway.models_file import ModelTable, read_models

LOOK_S: Final = 1.0
"""How often the file is looked at, at most, in seconds."""

_Stamp = tuple[int, int, int] | None

log = structlog.get_logger(__name__)


class ModelsInForce:
    """Holds the last table that was whole; a broken new file changes nothing but `trouble`.

    Raises ConfigurationError where the first one is broken.
    """

    def __init__(
        self,
        path: Path | None,
        environ: Mapping[str, str] = os.environ,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._environ = environ
        self._now = now
        self._looked_at = now()
        self._stamp = self._stamped()
        self._table = read_models(path, environ) if path is not None else ModelTable()
        self.trouble: str | None = None
        """Why the file as it is now is not in force; None where it is."""

    def table(self) -> ModelTable:
        """Return the table in force, after a look at the file if the last one is a second old."""
        if self._path is not None and self._now() - self._looked_at >= LOOK_S:
            self._looked_at = self._now()
            stamp = self._stamped()
            if stamp != self._stamp:
                self._stamp = stamp
                self._read(self._path)
        return self._table

    def _read(self, path: Path) -> None:
        try:
            self._table = read_models(path, self._environ)
        except ConfigurationError as error:
            self.trouble = str(error)
            log.error("the new models file is not in force, the old one is", error=self.trouble)  # noqa: TRY400  # the message says it all
        else:
            self.trouble = None
            log.info("models file read", models=len(self._table.routes))

    def _stamped(self) -> _Stamp:
        """Return what changes with the file; None where there is none."""
        if self._path is None:
            return None
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
