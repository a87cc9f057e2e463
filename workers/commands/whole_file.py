"""A file that is written whole or not at all: until then the one from before stays."""

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from workers.errors import EdgewiseError


class NotWrittenError(EdgewiseError):
    """A file could not be written; the message says which and why."""


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[TextIO]:
    """Open a draft beside `path` and put it in its place once the block has ended well.

    What is no plain file, such as /dev/null, is written straight away. Raises NotWrittenError.
    """
    try:
        if path.is_dir():
            raise NotWrittenError(f"{path} is a folder: name a file")
        if path.exists() and not path.is_file():
            with path.open("w", encoding="utf-8", newline="") as stream:
                yield stream
            return
        target = path.resolve()
        draft = target.with_name(f".edgewise-{secrets.token_hex(4)}.new")
        try:
            with draft.open("x", encoding="utf-8", newline="") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            if target.exists():
                shutil.copymode(target, draft)
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise NotWrittenError(f"cannot write {path}: {error.strerror or error}") from None
