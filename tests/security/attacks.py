"""What a stranger's file may try: to run something, or to take more memory than there is."""

from __future__ import annotations

import os
import pickle
import struct
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LITTLE_MIB = 64.0


class Attack:
    """Makes a file when it is unpickled: the victim of a test is whether that file is there."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.victim}",)


def pickled(victim: Path) -> bytes:
    return pickle.dumps(Attack(victim))


@contextmanager
def little_memory() -> Iterator[None]:
    """Hold that Python and numpy take no more than ``LITTLE_MIB`` at once within the block."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()
    assert peak < LITTLE_MIB, f"took {peak:.0f} MiB"


def huge_png(side: int) -> bytes:
    """Return a PNG of some hundred bytes that declares ``side * side`` pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


def huge_heads(side: int) -> dict[str, bytes]:
    """Return the heads of pictures that declare ``side * side`` pixels, by format; 16 bits hold up to 65,535."""
    tiff = struct.pack("<2sHIH", b"II", 42, 8, 6)
    for tag, value in ((256, side), (257, side), (258, 8), (259, 1), (262, 1), (273, 8)):
        tiff += struct.pack("<HHII", tag, 4, 1, value)
    return {
        "PNG": huge_png(side),
        "BMP": b"BM" + struct.pack("<IIIIiiHHIIiiII", 200, 0, 54, 40, side, side, 1, 24, 0, 0, 0, 0, 0, 0) + bytes(100),
        "GIF": b"GIF89a" + struct.pack("<HHBBB", side, side, 0x80, 0, 0) + bytes(6) + b"," + bytes(20),
        "JPEG": b"\xff\xd8\xff\xc0" + struct.pack(">HBHHB", 17, 8, side, side, 3) + bytes(range(1, 10)) + bytes(100),
        "PPM": f"P6 {side} {side} 255\n".encode() + bytes(100),
        "TIFF": tiff + bytes(100),
    }
