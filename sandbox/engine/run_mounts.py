"""`RUN --mount` in Dockerfiles: podman has versions in which such a mount reaches any file of this machine.

A link in a stage or in the context was followed (CVE-2024-1753), and the id of a cache was a path (CVE-2024-9675).
Distributions mend older versions, or do not: the podman of Debian 12 is not mended. So its behaviour decides.

Source: https://nvd.nist.gov/vuln/detail/CVE-2024-1753, https://nvd.nist.gov/vuln/detail/CVE-2024-9675
"""

from __future__ import annotations

import asyncio
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sandbox.engine.command import CommandLine
from sandbox.engine.store import Store
from sandbox.programs import find_program

REFUSED = (
    "{}: refused, because the podman of this machine lets such a mount reach any file of the machine (CVE-2024-1753, "
    "CVE-2024-9675). Install podman 5.2.5 or newer (Debian 13 has one), or use `COPY --from` for the files of a stage."
)
_CONTINUED = re.compile(r"[\\`][ \t]*$")
_TRANSLATED = str.maketrans({"\r": " ", "\ufeff": " ", "\u0130": "i"})  # the last one is a small i to Go, not to Python
_MARKS = frozenset("$'\"\\`")
_MEMORY = re.compile(r"--mount=type=tmpfs(,(?!type=)[\w=/.-]+)*")
_FLAGS_LIMIT_CHARACTERS = 1024
_MOUNTS = ("type=bind,from=linked,source=/link", "type=bind,source=files/link", "type=cache,id={climbing}")
_DOCKERFILE = """\
FROM scratch AS linked
COPY files/ /
FROM scratch
COPY busybox /bin/busybox
RUN --mount={mount},target=/probe ["/bin/busybox", "cat", "/probe/marker"]
"""


def risky_run_flag(dockerfile: str) -> str:
    """A flag of a RUN that mounts something of this machine, or may become one that does; "" if there is none."""
    return next(filter(None, map(_risky, possible_instructions(dockerfile))), "")


def possible_instructions(dockerfile: str) -> Iterator[str]:
    """What may be an instruction in a Dockerfile, up to a length, from the last one to the first.

    A Dockerfile may say what continues a line, and what is a comment depends on the parser. So every line counts as
    the first one of an instruction, and continues if it does for anyone: rather too much is found than too little.
    """
    following = ""
    for line in reversed(dockerfile.translate(_TRANSLATED).split("\n")):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        end = _CONTINUED.search(line)
        following = (line[: end.start()] + following if end else line)[:_FLAGS_LIMIT_CHARACTERS]
        yield following


def _risky(instruction: str) -> str:
    words = instruction.split()
    while words and words[0].lower() == "onbuild":
        del words[0]
    if not words or words[0].lower() != "run":
        return ""
    for word in words[1:]:
        if not word.startswith("--"):
            return ""
        if not _MARKS.isdisjoint(word) or (word.startswith("--mount") and not _MEMORY.fullmatch(word)):
            return word
    return words[-1] if len(instruction) == _FLAGS_LIMIT_CHARACTERS else ""  # the rest of the flags is not seen


class RunMounts:
    """Whether this machine's podman keeps `RUN --mount` to the build: tried once, by the first build that needs it.

    Args:
        podman: the command line of builds.
        store: where to try it; it does not exist before and after.
    """

    def __init__(self, podman: CommandLine, store: Store) -> None:
        self._podman, self._store = podman, store
        self._lock = asyncio.Lock()
        self._confined: bool | None = None

    async def are_confined(self) -> bool:
        """Try to reach a file of this machine in each known way, and one of the context."""
        async with self._lock:
            if self._confined is None:
                self._confined = await self._try()
            return self._confined

    async def _try(self) -> bool:
        busybox = find_program("busybox")
        if busybox is None:
            return False
        self._store.make()
        try:
            with tempfile.TemporaryDirectory(prefix="basegate-probe-") as folder:
                return await self._reach(Path(folder), busybox)
        finally:
            await self._store.discard()

    async def _reach(self, folder: Path, busybox: str) -> bool:
        inside, outside = secrets.token_hex(8), secrets.token_hex(8)
        files, machine = folder / "context" / "files", folder / "machine"
        for place, marker in ((files, inside), (machine, outside)):
            place.mkdir(parents=True)
            (place / "marker").write_text(marker)
        (files / "link").symlink_to(machine)
        shutil.copy(busybox, files.parent / "busybox")
        climbing = "../" * 40 + str(machine).lstrip("/")
        for mount in _MOUNTS:
            if outside in await self._build(folder, mount.format(climbing=climbing)):
                return False
        return inside in await self._build(folder, "type=bind,source=files")

    async def _build(self, folder: Path, mount: str) -> str:
        file = folder / "Dockerfile"
        file.write_text(_DOCKERFILE.format(mount=mount))
        podman = self._store.command(self._podman, TMPDIR=str(folder))
        result = await podman.capture(["build", "--file", str(file), "--network", "none", "--", f"{folder}/context"])
        return result.stdout + result.stderr
