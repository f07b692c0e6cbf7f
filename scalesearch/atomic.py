"""Files that a reader, or a crash, sees as they were or as they will be, never in part."""

from __future__ import annotations

import errno
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PART_SUFFIX = ".part"
"""Of what was being written when a process died; nothing reads such a file."""

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def tells_of_no_room(error: BaseException) -> bool:
    """Say whether an error means that nothing can be written now: a full disk or quota, or a read-only folder."""
    return isinstance(error, OSError) and error.errno in _NO_ROOM


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a name beside ``path`` to write to, and put the file in its place when the block ends without an error.

    The folder is made where it is missing; what was written is flushed to the disk before it is renamed.

    Raises:
        OSError: The disk is full, or the folder cannot be written; ``path`` is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # not the process's number alone: machines that share the folder have the same ones
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{PART_SUFFIX}")
    try:
        yield temporary
        with temporary.open("rb+") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
    except Exception as error:
        hidden = re.search(r"\(os error (\d+)\)", str(error))  # as safetensors hides the system's error
        if hidden is None or isinstance(error, OSError):
            raise
        number = int(hidden[1])
        raise OSError(number, os.strerror(number), str(path)) from None
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file at once, text as UTF-8; see ``replacing``."""
    data = content.encode() if isinstance(content, str) else content
    with replacing(path) as temporary:
        temporary.write_bytes(data)
