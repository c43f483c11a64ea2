"""Registries that mean no good, or are merely broken: each is one function from what is asked to an answer."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator

from tests.contract.registries.double import Asked, Reply, error_reply, json_reply

MANIFEST = b'{"schemaVersion":2}'
_ENOUGH_BYTES = 64 * 1024 * 1024


class Flood:
    """A body without an end (64 MiB is enough to tell); `sent` is how much of it was taken."""

    def __init__(self, head: bytes, piece: bytes = b"x" * 65536) -> None:
        self._head, self._piece, self.sent = head, piece, 0
        self.ended = threading.Event()

    def __call__(self, _: Asked) -> Reply:
        return Reply(raw=self._pieces)

    def _pieces(self) -> Iterator[bytes]:
        try:
            yield self._head
            while self.sent < _ENOUGH_BYTES:
                yield self._piece
                self.sent += len(self._piece)
        finally:
            self.ended.set()


class Drip:
    """A byte now and then; it never stops by itself."""

    def __init__(self, head: bytes, drop: bytes = b"x") -> None:
        self._head, self._drop, self._over = head, drop, threading.Event()

    def __call__(self, _: Asked) -> Reply:
        return Reply(raw=self._pieces)

    def stop(self) -> None:
        self._over.set()

    def _pieces(self) -> Iterator[bytes]:
        yield self._head
        while not self._over.wait(0.01):
            yield self._drop


def head(status: str = "200 OK", *headers: str) -> bytes:
    """The head of an answer, byte for byte."""
    return "\r\n".join((f"HTTP/1.1 {status}", *headers, "", "")).encode()


def raw(*pieces: bytes) -> Callable[[Asked], Reply]:
    """These bytes, then the end of the connection."""
    return lambda _: Reply(raw=lambda: iter(pieces))


def manifest(body: bytes = MANIFEST, **headers: str) -> Callable[[Asked], Reply]:
    """A manifest; `_` in the name of a header is written for `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda asked: Reply(200, named, body)


def tags(document: object, **headers: str) -> Callable[[Asked], Reply]:
    """One page of tags, always the same."""
    return lambda _: json_reply(document, 200, **headers)


def redirect(*places: str) -> Callable[[Asked], Reply]:
    """Another place at each request, the last for ever."""
    following = itertools.chain(places, itertools.repeat(places[-1]))
    return lambda _: Reply(307, {"Location": next(following)})


def challenge(realm: str, extra: str = "") -> Callable[[Asked], Reply]:
    """Whoever has no token is sent to a realm for one; whoever has one reads a manifest."""

    def answer(asked: Asked) -> Reply:
        if asked.authorization:
            return Reply(200, {}, MANIFEST)
        header = f'Bearer realm="{realm}",service="tests"{extra}'
        return error_reply(401, "UNAUTHORIZED", WWW_Authenticate=header)

    return answer
