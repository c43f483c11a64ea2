"""Reads from a program's ELF headers whether it runs without a loader.

Source: https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html and ch5.pheader.html
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import IO

_MAGIC = b"\x7fELF"
_BYTE_ORDERS = {1: "<", 2: ">"}
_INTERPRETER = 3  # PT_INTERP


@dataclass(frozen=True, slots=True)
class _Layout:
    """The places in an ELF header of the offset (`offset`) and of the size and number (`shape`) of program headers."""

    offset: int
    offset_format: str
    shape: int


_LAYOUTS = {1: _Layout(28, "I", 42), 2: _Layout(32, "Q", 54)}
"""By class: 32 and 64 bits."""


def is_static(file: IO[bytes]) -> bool:
    """Whether a file is an ELF program without a program header for an interpreter."""
    head = file.read(64)
    if not head.startswith(_MAGIC):
        return False
    try:
        types = _segment_types(file, head)
    except (struct.error, LookupError):  # truncated, or of an unknown class
        return False
    return bool(types) and _INTERPRETER not in types


def _segment_types(file: IO[bytes], head: bytes) -> set[int]:
    layout, order = _LAYOUTS[head[4]], _BYTE_ORDERS[head[5]]
    (offset,) = struct.unpack_from(order + layout.offset_format, head, layout.offset)
    size, number = struct.unpack_from(order + "HH", head, layout.shape)
    file.seek(offset)
    table = file.read(size * number)
    return {struct.unpack_from(order + "I", table, size * index)[0] for index in range(number)}
