"""Configuration files that make podman work the same on every machine, and do not touch the user's podman."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path

from sandbox.engine.contract import EngineError, Login
from sandbox.engine.machine import Machine
from sandbox.private import write_private
from sandbox.programs import find_program, search_path
from sandbox.variables import settable_names

_DOCKER_HUB = {
    "docker.io",
    "index.docker.io",
    "registry-1.docker.io",
    "registry.hub.docker.com",
    "https://index.docker.io/v1/",
}
_UNSAFE_IN_FILES = frozenset("\n\r\"'\\#`$")
_READ_BY_THE_ENGINE = (
    r"(?:CONTAINERS|CONTAINER|BUILDAH|PODMAN|XDG|SSL|LC|DBUS|LISTEN|_OCI|_CONTAINERS)_.*|GO[A-Z]+|.*_(?:PROXY|proxy)"
    r"|USER|LOGNAME|LANG|NOTIFY_SOCKET|REGISTRY_AUTH_FILE|STORAGE_(?:DRIVER|OPTS)"
)
_PASSED_ON = settable_names(_READ_BY_THE_ENGINE, r"[A-Za-z_][A-Za-z0-9_]*")
_KEPT_VARIABLES = ("LANG", "XDG_RUNTIME_DIR", "USER", "LOGNAME")


def write_configuration(folder: Path, machine: Machine, runtime: str) -> dict[str, str]:
    """Write containers.conf, registries.conf, storage.conf and an empty auth file; return the variables that name them.

    static_dir is not set: with it, every `podman run` waits 20 s for a cleanup that reads another database.
    """
    networks = folder / "networks"
    networks.mkdir(parents=True, exist_ok=True)
    files = {
        "CONTAINERS_CONF": ("containers.conf", _containers(machine, runtime, networks)),
        "CONTAINERS_REGISTRIES_CONF": (
            "registries.conf",
            'unqualified-search-registries = ["docker.io"]\nshort-name-mode = "disabled"\n',
        ),
        "CONTAINERS_STORAGE_CONF": ("storage.conf", _storage(folder)),
        "REGISTRY_AUTH_FILE": ("auth.json", '{"auths": {}}\n'),
    }
    for name, text in files.values():
        (folder / name).write_text(text)
    return {variable: str(folder / name) for variable, (name, _) in files.items()}


def _containers(machine: Machine, runtime: str, networks: Path) -> str:
    limits = f'"nofile={machine.open_files}:{machine.open_files}", "nproc={machine.processes}:{machine.processes}"'
    places = "\n".join(f'{name} = ["{place}"]' for name in machine.runtimes if (place := find_program(name)))
    return f"""\
[containers]
default_ulimits = [{limits}]
log_driver = "k8s-file"
base_hosts_file = "none"
[engine]
runtime = "{runtime}"
cgroup_manager = "cgroupfs"
events_logger = "file"
[engine.runtimes]
{places}
[network]
network_backend = "netavark"
network_config_dir = "{networks}"
"""


def _storage(folder: Path) -> str:
    """podman requires all three settings, although every command names its own store."""
    return f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/unused"\nrunroot = "{folder}/unused"\n'


def engine_environment(client: Mapping[str, str], home: Path, files: Mapping[str, str]) -> dict[str, str]:
    """The complete environment of the engine's processes.

    Few variables are inherited: a proxy or a registry login of the developer must not reach the engine. `client` routes
    Azure's real host names to the sandbox; what signs in is left out, since an engine has no identity.
    """
    inherited = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    routing = {name: value for name, value in client.items() if not name.startswith(("IDENTITY_", "GIT_CONFIG_"))}
    return {**inherited, "PATH": search_path(), "HOME": str(home), **routing, **files}


def registry_of(image: str) -> str:
    """The registry in an image name: its first component, or Docker Hub."""
    head, slash, _ = image.partition("/")
    return head if slash and ("." in head or ":" in head or head == "localhost") else "docker.io"


def write_logins(path: Path, logins: Mapping[str, Login]) -> Path:
    """Write an auth file that only its owner can read."""
    write_private(path, json.dumps({"auths": _auths(logins, "docker.io")}))
    return path


def write_docker_logins(path: Path, logins: Mapping[str, Login]) -> None:
    """Write logins as `docker login` stores them in its `config.json`, in a file that only its owner can read."""
    write_private(path, json.dumps({"auths": _auths(logins, "https://index.docker.io/v1/")}))


def _auths(logins: Mapping[str, Login], hub: str) -> dict[str, dict[str, str]]:
    pairs = ((hub if server in _DOCKER_HUB else server, login) for server, login in logins.items())
    return {name: {"auth": base64.b64encode(f"{one.user}:{one.password}".encode()).decode()} for name, one in pairs}


def environment_options(file: Path, environment: Mapping[str, str]) -> tuple[list[str], Mapping[str, str]]:
    """The options that set a container's variables, and variables of the engine's own process: no value is an argument.

    Plain values are passed in `file`. One that could be parsed differently there (quotes, line ends, …) is passed in
    the engine's environment, from which `--env NAME` takes it. An empty one hides nothing: it is an argument, whatever
    its name.

    Raises:
        EngineError: the engine itself would read a variable that has to be passed in its environment.
    """
    empty = [name for name, value in environment.items() if not value]
    plain = {name: value for name, value in environment.items() if _UNSAFE_IN_FILES.isdisjoint(value) and value.strip()}
    others = {name: value for name, value in environment.items() if value and name not in plain}
    written = (*others, *(f"{name}=" for name in empty))
    passed, options = passed_on(others), [part for variable in written for part in ("--env", variable)]
    if plain:
        write_private(file, "".join(f"{name}={value}\n" for name, value in plain.items()))
        options = ["--env-file", str(file), *options]
    return options, passed


def argument_options(arguments: Mapping[str, str], secret: Collection[str]) -> tuple[list[str], Mapping[str, str]]:
    """The options of build arguments, and variables of the engine's own process: no value is an argument.

    Only one whose name the engine itself would read is, and a secret one must not have such a name.

    Raises:
        EngineError: a secret one has.
    """
    passed = {name: value for name, value in arguments.items() if _PASSED_ON.fullmatch(name)}
    passed_on({name: arguments[name] for name in secret})
    written = (name if name in passed else f"{name}={value}" for name, value in arguments.items())
    return [part for argument in written for part in ("--build-arg", argument)], passed


def passed_on(variables: Mapping[str, str]) -> Mapping[str, str]:
    """Variables that the engine's process gets to pass them on, as root.

    Raises:
        EngineError: the engine itself, or the loader, would read one of them.
    """
    for name in variables:
        if not _PASSED_ON.fullmatch(name):
            raise EngineError(f"{name} is no name of a variable that can have such a value here: choose another name")
    return variables
