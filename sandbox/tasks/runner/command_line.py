"""Parses the command lines of a task file, in particular those that begin with `docker`.

ACR runs `docker` in a container that has its client and the host's socket. Here no container has access to the
engine: the few commands that task files use are executed by the engine itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

COMMANDS = ("build", "pull", "push", "run", "tag")
_RUN_FLAGS = {
    "-e": "env", "--env": "env", "--entrypoint": "entrypoint", "--name": "name", "-u": "user", "--user": "user",
    "-w": "workdir", "--workdir": "workdir",
}  # fmt: skip
_BUILD_FLAGS = {
    "-t": "tags", "--tag": "tags", "-f": "file", "--file": "file", "--build-arg": "arguments", "--label": "labels",
    "--target": "target", "--platform": "platform",
}  # fmt: skip
_BUILD_SWITCHES = {"--no-cache": "no_cache", "--pull": "pull"}
_WITHOUT_EFFECT = frozenset((
    "-m", "--memory", "--memory-swap", "--shm-size", "-c", "--cpu-shares", "--cpu-period", "--cpu-quota",
    "--cpuset-cpus", "--cpuset-mems", "--cache-from", "--progress", "--isolation",
))  # fmt: skip
_SWITCHES_WITHOUT_EFFECT = frozenset((
    "--rm", "--force-rm", "--compress", "--disable-content-trust", "-q", "--quiet",
))  # fmt: skip
_RUN_SWITCHES = {"--rm": "", "-i": "", "--interactive": "", "-t": "", "--tty": "", "-d": "detach", "--detach": "detach"}
OPTIONS: Mapping[str, Sequence[str]] = {
    "docker build": (*_BUILD_FLAGS, *_BUILD_SWITCHES),
    "docker build, without effect": sorted(_WITHOUT_EFFECT | _SWITCHES_WITHOUT_EFFECT),
    "docker run": sorted({*_RUN_FLAGS, *_RUN_SWITCHES}),
}
"""The options that are not refused."""


class DockerCommandError(ValueError):
    """A docker command that is not supported here; the message names it."""


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


@dataclass(slots=True)
class DockerBuild:
    """A `docker build` command line. `arguments` without a value get it from the step's environment."""

    context: str = ""
    file: str = ""
    target: str = ""
    platform: str = ""
    tags: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    arguments: dict[str, str | None] = field(default_factory=dict)
    no_cache: bool = False
    pull: bool = False

    def values(self, env: Sequence[str]) -> dict[str, str]:
        """The build arguments with their values; `env` is the step's. One without a value is left out."""
        variables = dict(entry.partition("=")[::2] for entry in env)
        given = {name: variables.get(name) if value is None else value for name, value in self.arguments.items()}
        return {name: value for name, value in given.items() if value is not None}


def read_docker_build(words: Sequence[str]) -> DockerBuild:
    """Read the arguments that follow `docker build`.

    Only options that cannot reach this machine are known: builds are made by root, and whoever writes a task file could
    mount a folder into one, or take away what confines it.

    Raises:
        DockerCommandError: for an option that is not supported here, or another number of contexts than one.
    """
    build, rest, contexts = DockerBuild(), list(words), list[str]()
    while rest:
        word = rest.pop(0)
        if not word.startswith("-") or word == "-":
            contexts.append(word)
            continue
        option, equals, value = word.partition("=")
        if option in _BUILD_SWITCHES:
            setattr(build, _BUILD_SWITCHES[option], value != "false")
        elif option in _BUILD_FLAGS or option in _WITHOUT_EFFECT:
            _set_build(build, _BUILD_FLAGS.get(option, ""), value if equals else (rest.pop(0) if rest else ""))
        elif option not in _SWITCHES_WITHOUT_EFFECT:
            raise DockerCommandError(f"docker build {option} is not supported here")
    if len(contexts) != 1:
        raise DockerCommandError(f"docker build accepts one context, not {len(contexts)}")
    build.context = contexts[0]
    return build


def _set_build(build: DockerBuild, attribute: str, value: str) -> None:
    match attribute:
        case "tags" | "labels":
            getattr(build, attribute).append(value)
        case "arguments":
            name, equals, text = value.partition("=")
            build.arguments[name] = text if equals else None
        case "file" | "target" | "platform":
            setattr(build, attribute, value)


def split_docker(words: Sequence[str]) -> tuple[str, list[str]] | None:
    """The docker command and its arguments; None if the words are not a docker command line.

    Raises:
        DockerCommandError: for a command that is not supported here, or with the wrong number of arguments.
    """
    if not words or words[0] != "docker":
        return None
    command, *arguments = words[1:] or [""]
    if command not in COMMANDS:
        raise DockerCommandError(f"docker {command} is not supported here (known: {', '.join(COMMANDS)})")
    expected = {"pull": 1, "push": 1, "tag": 2}.get(command)
    if expected is not None and (len(arguments) != expected or any(word.startswith("-") for word in arguments)):
        raise DockerCommandError(f"docker {command} accepts {expected} image name(s) and no options here")
    return command, arguments


def read_docker_run(words: Sequence[str]) -> DockerRun:
    """Read the arguments that follow `docker run`.

    Raises:
        DockerCommandError: for an option that is not supported here.
    """
    run, rest = DockerRun(), list(words)
    while rest and rest[0].startswith("-"):
        option, equals, value = rest.pop(0).partition("=")
        if option in _RUN_SWITCHES:
            run.detach = run.detach or _RUN_SWITCHES[option] == "detach"
        elif option in _RUN_FLAGS:
            _set(run, _RUN_FLAGS[option], value if equals else (rest.pop(0) if rest else ""))
        else:
            raise DockerCommandError(f"docker run {option} is not supported here")
    if not rest:
        raise DockerCommandError("docker run has no image name")
    run.image, run.arguments = rest[0], tuple(rest[1:])
    return run


def _set(run: DockerRun, attribute: str, value: str) -> None:
    if attribute == "env":
        run.env.append(value)
    else:
        setattr(run, attribute, value)
