"""Frames between host and worker: a four-byte length, then that many bytes of JSON.

Standard library only, because a worker runs in the app's own environment.
"""

from __future__ import annotations

import asyncio
import socket
import struct

_LENGTH = struct.Struct(">I")
FRAME_LIMIT_BYTES = 160 * 1024 * 1024
"""Room for a request body of 100 MB in base64."""


def frame(message: bytes) -> bytes:
    """Prefix a message with its length.

    Raises:
        ValueError: it exceeds the limit of a frame.
    """
    if len(message) > FRAME_LIMIT_BYTES:
        raise ValueError(f"a message of {len(message)} bytes exceeds the limit of {FRAME_LIMIT_BYTES} bytes per frame")
    return _LENGTH.pack(len(message)) + message


async def read_frame(reader: asyncio.StreamReader) -> bytes | None:
    """The next message, or None if the peer has disconnected."""
    try:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        return await reader.readexactly(length)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


def receive_frame(connection: socket.socket) -> bytes | None:
    """The next message of a blocking socket, or None if the peer has disconnected."""
    head = _receive_exactly(connection, _LENGTH.size)
    return None if head is None else _receive_exactly(connection, _LENGTH.unpack(head)[0])


def _receive_exactly(connection: socket.socket, length: int) -> bytes | None:
    data = bytearray(length)
    view, received = memoryview(data), 0
    while received < length:
        try:
            count = connection.recv_into(view[received:])
        except ConnectionError:
            return None
        if not count:
            return None
        received += count
    return bytes(data)
