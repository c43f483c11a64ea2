"""A deadline for a whole exchange over HTTP: a timeout of silence alone never ends an answer that drips."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from threading import Event, Timer


@contextmanager
def connected(connection: HTTPConnection, seconds: float) -> Iterator[None]:
    """A connection, opened for a block, and broken off once the time since the block began is over.

    Raises:
        TimeoutError: the time is over. An answer that was broken off may look like a whole one.
    """
    begun, is_over = time.monotonic(), Event()

    def break_off() -> None:
        is_over.set()
        with suppress(OSError):  # it is closed already
            connection.sock.shutdown(socket.SHUT_RDWR)

    try:
        connection.connect()
        timer = Timer(max(0.0, seconds - (time.monotonic() - begun)), break_off)
        timer.daemon = True
        timer.start()
        try:
            yield
        except (OSError, HTTPException) as error:
            if not is_over.is_set():
                raise
            raise TimeoutError("the answer takes too long") from error
        finally:
            timer.cancel()
        if is_over.is_set():
            raise TimeoutError("the answer takes too long")
    finally:
        connection.close()
