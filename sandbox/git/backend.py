"""Runs git's HTTP server, `git http-backend`, as a CGI program for one request.

Source: https://git-scm.com/docs/git-http-backend, https://www.rfc-editor.org/rfc/rfc3875
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from aiohttp import web

from sandbox.git.commands import end, git_environment
from sandbox.rights import Rights
from sandbox.web import Fault

log = logging.getLogger(__name__)

_CHUNK_BYTES = 64 * 1024
_HEAD_LIMIT_BYTES = 16 * 1024


async def serve(
    request: web.BaseRequest,
    rights: Rights,
    root: Path,
    path: str,
    user: str | None = None,
    before_end: Callable[[], Awaitable[None]] | None = None,
) -> web.StreamResponse:
    """Forward a request to `git http-backend`, streaming in both directions.

    Args:
        request: the request of the git client.
        rights: those of the program.
        root: the folder of the bare repositories.
        path: the repository below `root` and the service, `/contoso/app.git/info/refs`.
        user: the user that pushes; None without authentication (http-backend then refuses a push).
        before_end: awaited after the program has exited and before the response ends.

    Raises:
        Fault: 502 if the program did not respond with a CGI header.
    """
    process = await _start(rights, _cgi(request, root, path, user))
    assert process.stdin and process.stdout and process.stderr
    feeding = asyncio.create_task(_feed(request, process.stdin))
    errors = asyncio.create_task(process.stderr.read())
    try:
        response = await _answer(request, process.stdout)
        await process.wait()
        if process.returncode:
            log.info("git http-backend for %s: %s", path, (await errors).decode(errors="replace").strip())
        if before_end:
            await before_end()
        await response.write_eof()
        return response
    finally:
        await end(process)
        feeding.cancel()
        await asyncio.wait((feeding, errors))


async def _start(rights: Rights, variables: Mapping[str, str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *rights.command("git", "http-backend"),
        **rights.server(),
        cwd="/",
        env={**git_environment(), **variables},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


def _cgi(request: web.BaseRequest, root: Path, path: str, user: str | None) -> dict[str, str]:
    headers = request.headers
    variables = {
        "GIT_PROJECT_ROOT": str(root),
        "GIT_HTTP_EXPORT_ALL": "1",
        "PATH_INFO": path,
        "REQUEST_METHOD": request.method,
        "QUERY_STRING": request.rel_url.raw_query_string,
        "REMOTE_ADDR": "127.0.0.1",
    }
    given = {
        "CONTENT_TYPE": headers.get("Content-Type"),
        "CONTENT_LENGTH": headers.get("Content-Length"),
        "HTTP_CONTENT_ENCODING": headers.get("Content-Encoding"),
        "GIT_PROTOCOL": headers.get("Git-Protocol"),
        "REMOTE_USER": user,
    }
    return variables | {name: value for name, value in given.items() if value is not None}


async def _feed(request: web.BaseRequest, stdin: asyncio.StreamWriter) -> None:
    # A program that has read enough closes its stdin; the rest of the request body is not needed then.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        async for chunk in request.content.iter_chunked(_CHUNK_BYTES):
            stdin.write(chunk)
            await stdin.drain()
        stdin.close()
        await stdin.wait_closed()


async def _answer(request: web.BaseRequest, stdout: asyncio.StreamReader) -> web.StreamResponse:
    response = web.StreamResponse()
    size = 0
    while line := (await stdout.readline()).rstrip(b"\r\n"):
        size += len(line)
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon or size > _HEAD_LIMIT_BYTES:
            raise Fault(502, "BadGateway", "git http-backend answered without a CGI head.")
        if name.lower() == "status":
            response.set_status(int(value.split()[0]))
        else:
            response.headers.add(name, value.strip())
    if not size:
        raise Fault(502, "BadGateway", "git http-backend ended without an answer.")
    await response.prepare(request)
    while chunk := await stdout.read(_CHUNK_BYTES):
        await response.write(chunk)
    return response
