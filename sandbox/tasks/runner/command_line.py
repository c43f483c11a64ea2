"""The command lines of a task file: their words, and those that begin with `docker`.

ACR runs `docker` in a container that holds its client and the host's socket. Here no container gets near the engine:
the few commands that task files use are carried out by the engine itself.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field

_QUOTED = re.compile(r"""'[^']*'|"(?:[^"\\]|\\.)*"|\\.""", re.DOTALL)
_SHELL = re.compile(r"(?:^|\s)(?:\|\|?|&&?|;|\d?>>?(?:&\d)?|<)(?=\s|$)|;(?=\s|$)|`|\$\(")
COMMANDS = ("build", "pull", "push", "run", "tag")
_RUN_FLAGS = {
    "-e": "env", "--env": "env", "--entrypoint": "entrypoint", "--name": "name", "-u": "user", "--user": "user",
    "-w": "workdir", "--workdir": "workdir",
}  # fmt: skip
_RUN_SWITCHES = {"--rm": "", "-i": "", "--interactive": "", "-t": "", "--tty": "", "-d": "detach", "--detach": "detach"}


def split_words(text: str) -> list[str]:
    """Split a command line into words as a shell does, without what else a shell does.

    ACR hands the line to a shell outside the container, where an operator hardly does what its writer meant; here
    it is an error, and a program that wants one says `sh -c "…"`.

    Raises:
        ValueError: for an open quote, no words, or an operator outside quotes.
    """
    operator = _SHELL.search(_QUOTED.sub("quoted", text))
    if operator:
        raise ValueError(f'{operator[0].strip()} outside quotes is for a shell: write sh -c "…"')
    words = shlex.split(text)
    if not words:
        raise ValueError("it has no words")
    return words


class DockerCommandError(ValueError):
    """A docker command that is not carried out here; the text says which."""


@dataclass(slots=True)
class DockerRun:
    """A `docker run` command line."""

    image: str = ""
    arguments: tuple[str, ...] = ()
    env: list[str] = field(default_factory=list)
    entrypoint: str | None = None
    user: str | None = None
    workdir: str | None = None
    name: str | None = None
    detach: bool = False


def split_docker(words: Sequence[str]) -> tuple[str, list[str]] | None:
    """The docker command and its arguments; None where the words are no docker command line.

    Raises:
        DockerCommandError: for a command that is not carried out here, or with the wrong number of arguments.
    """
    if not words or words[0] != "docker":
        return None
    command, *arguments = words[1:] or [""]
    if command not in COMMANDS:
        raise DockerCommandError(f"docker {command} is not carried out here (known: {', '.join(COMMANDS)})")
    wanted = {"pull": 1, "push": 1, "tag": 2}.get(command)
    if wanted is not None and (len(arguments) != wanted or any(word.startswith("-") for word in arguments)):
        raise DockerCommandError(f"docker {command} takes {wanted} image name(s) and no options here")
    return command, arguments


def read_docker_run(words: Sequence[str]) -> DockerRun:
    """Read the arguments that follow `docker run`.

    Raises:
        DockerCommandError: for an option that is not carried out here.
    """
    run, rest = DockerRun(), list(words)
    while rest and rest[0].startswith("-"):
        option, equals, value = rest.pop(0).partition("=")
        if option in _RUN_SWITCHES:
            run.detach = run.detach or _RUN_SWITCHES[option] == "detach"
        elif option in _RUN_FLAGS:
            _set(run, _RUN_FLAGS[option], value if equals else (rest.pop(0) if rest else ""))
        else:
            raise DockerCommandError(f"docker run {option} is not carried out here")
    if not rest:
        raise DockerCommandError("docker run names no image")
    run.image, run.arguments = rest[0], tuple(rest[1:])
    return run


def _set(run: DockerRun, attribute: str, value: str) -> None:
    if attribute == "env":
        run.env.append(value)
    else:
        setattr(run, attribute, value)
