"""A program that names no loader is static, whatever its bytes say elsewhere."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest

from sandbox.needs.elf import is_static
from sandbox.needs.machine import Machine

LOAD, DYNAMIC, INTERPRETER = 1, 2, 3


def program(*segments: int, bits: int = 64, order: str = "<", at: int = 5000) -> bytes:
    """The headers of an ELF program with segments of these types, whose table is not on the first page."""
    identity = b"\x7fELF" + bytes([bits // 32, 1 if order == "<" else 2, 1]) + bytes(9)
    size, address = (56, "Q") if bits == 64 else (32, "I")
    numbers = (2, 62, 1, 0, at, 0, 0, 64, size, len(segments), 0, 0, 0)
    head = identity + struct.pack(f"{order}HHI{address * 3}IHHHHHH", *numbers)
    table = b"".join(struct.pack(f"{order}I", kind).ljust(size, b"\0") for kind in segments)
    return head.ljust(at, b"\0") + table


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_program_header_that_names_a_loader_tells_them_apart(bits: int, order: str) -> None:
    assert is_static(io.BytesIO(program(LOAD, DYNAMIC, bits=bits, order=order)))
    assert not is_static(io.BytesIO(program(LOAD, INTERPRETER, bits=bits, order=order)))


def test_a_loader_s_name_elsewhere_in_the_file_means_nothing() -> None:
    assert is_static(io.BytesIO(program(LOAD) + b"/lib64/ld-linux-x86-64.so.2"))


@pytest.mark.parametrize(
    "content", [b"", b"#!/bin/sh\n", b"\x7fELF", b"\x7fELF\x07\x07" + bytes(60), program(LOAD)[:-54], program()]
)
def test_what_is_no_whole_elf_program_is_not_static(content: bytes) -> None:
    assert not is_static(io.BytesIO(content))


def test_this_machine_s_busybox_is_static_and_its_shell_is_not() -> None:
    machine = Machine()
    busybox = machine.which("busybox")
    assert busybox
    assert machine.is_static(busybox)
    assert not machine.is_static(Path("/bin/sh"))
