"""Attempts to execute a step: a build, a container, or a docker command that the engine executes itself.

ACR runs `docker run [options] <cmd>` and `docker build <build>` by a shell: so does this module read them.
Source: https://github.com/Azure/acr-builder (builder/builder.go, builder/context.go)
"""

from __future__ import annotations

import asyncio
import posixpath
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sandbox.engine.contract import INFRASTRUCTURE_EXIT_CODES, BaseImage, ImageBuild, Output, RunContainer
from sandbox.tasks.runner.command_line import (
    DockerBuild,
    DockerCommandError,
    DockerRun,
    read_docker_build,
    read_docker_run,
    split_docker,
)
from sandbox.tasks.runner.dockerfile import ScanError, read_build_line, scan
from sandbox.tasks.runner.execution import WORKSPACE, Built, Execution, StepFailed
from sandbox.tasks.runner.stages import UsedImages, used_images
from sandbox.tasks.runner.unseen import explained, unscanned_bases, unseen_bases
from sandbox.tasks.taskfile.alias import IMAGE_ALIASES
from sandbox.tasks.taskfile.model import DEFAULT_NETWORK, Step, StepKind, TaskFile
from sandbox.tasks.taskfile.shell import Line, ShellError, split_line

Attempt = Callable[[Output], Awaitable[int]]
HOME = "/acb/home"
BUILDKIT = "DOCKER_BUILDKIT=1"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_MOUNT_PATH = re.compile("/[^:,]*")
_CPUS = re.compile(r"[0-9]*\.?[0-9]+")
_MOST_IMAGES = 200
_NAMELESS = ("", "bridge")  # Docker's own network, in which no container has a name


async def prepare(step: Step, execution: Execution) -> Attempt:
    """Prepare a build or cmd step; the returned function executes it once and returns the exit code.

    Raises:
        StepFailed: if the command line is not supported here, or an explicit pull fails.
    """
    try:
        _check(step, execution.task)
        return await (_build_step if step.kind is StepKind.BUILD else _cmd_step)(step, execution)
    except DockerCommandError as error:
        raise StepFailed(str(error)) from error
    except ShellError as error:
        raise StepFailed(f"the command line cannot be parsed: {error}") from error


def _check(step: Step, task: TaskFile) -> None:
    """What Docker refuses in the options of a step, or is refused here."""
    faults = {
        f"invalid container name: {step.id}": not _NAME.fullmatch(step.id),
        f"isolation {step.isolation} does not exist on Linux": step.isolation not in ("", "default"),
        f"cpus {step.cpus} is no number": bool(step.cpus) and not _CPUS.fullmatch(step.cpus),
        "network: host is refused here: it would be the network of this machine": step.network == "host",
        f"network {step.network} not found: it is not declared in networks": step.network
        not in ("none", *_NAMELESS, *(task.networks or (DEFAULT_NETWORK,))),
    }
    for _, path in step.volume_mounts:
        faults[
            f"the mountPath {path} is refused here: an absolute path without : and a comma"
        ] = not _MOUNT_PATH.fullmatch(path)
    for message, present in faults.items():
        if present:
            raise StepFailed(message)


def command_line(step: Step) -> str:
    """The command line of a step as ACR makes it, after `docker run` or `docker build`.

    Networks, mounts and the working directory are not in it: they are no words of the task file.
    """
    if step.kind is StepKind.BUILD:
        return step.run
    options = [f"--user {step.user}"] if step.user else []
    options += [f"--entrypoint {step.entry_point}"] if step.entry_point else []
    options += [f"--env {entry}" for entry in step.env]
    return " ".join((*options, step.run.strip()))


def expansion_warning(step: Step, line: Line) -> str:
    """What to say of the variables that the shell of ACR's agent expands; empty if there are none."""
    names = ", ".join(f"${name}" for name in dict.fromkeys(line.expanded))
    return (
        f"step {step.id}: {names} outside single quotes is that of ACR's agent, not of the container" if names else ""
    )


def environment(run: DockerRun) -> dict[str, str]:
    """The variables of a step's container."""
    return {"HOME": HOME} | _variables(run.env)


async def _words(step: Step, execution: Execution) -> list[str]:
    line = await asyncio.to_thread(split_line, command_line(step))
    if warning := expansion_warning(step, line):
        await execution.log.say(f"WARNING: {warning}")
    return line.words


async def _cmd_step(step: Step, execution: Execution) -> Attempt:
    run = read_docker_run(await _words(step, execution))
    if step.pull:
        await _pull(step, execution)
    if run.image == "docker":
        return await _docker(run, step, execution)
    container = _container(step, run, execution)
    return lambda out: _run(container, execution, out)


async def _run(container: RunContainer, execution: Execution, out: Output) -> int:
    code = await execution.store.run(container, out)
    if code in INFRASTRUCTURE_EXIT_CODES and container.image in IMAGE_ALIASES.values():
        await execution.log.say(f"{container.image} is an image of ACR's own: the sandbox has none of that name")
    return code


async def _pull(step: Step, execution: Execution) -> None:
    await execution.log.say("Step specified pull. Performing an explicit pull...")
    image = step.run.partition(" ")[0]
    for attempt in range(max(step.cmd_download_retries, 0) + 1):
        if attempt:
            await execution.sleep(max(step.cmd_download_retry_delay, 0))
        code = await execution.store.pull(image, execution.log.output)
        if not code:
            return
    raise StepFailed(f"exit status {code}", code)


async def _docker(client: DockerRun, step: Step, execution: Execution) -> Attempt:
    """A command of the docker client. Its variables are those of the step."""
    store, variables = execution.store, _variables(client.env)
    split = split_docker(["docker", *client.arguments])
    assert split
    command, arguments = split
    match command:
        case "build":
            return await _build(read_docker_build(arguments), client.env, step, execution)
        case "pull":
            return lambda out: _then(store.pull(arguments[0], out), execution, arguments)
        case "tag":
            return lambda out: _then(store.tag(arguments[0], arguments[1], out), execution, arguments[1:])
        case "push":
            return lambda out: _push_once(arguments[0], execution, out)
    run = read_docker_run(arguments)
    passed = {name: value for name, value in variables.items() if name in run.env} | _variables(run.env)
    container = replace(_container(step, run, execution), environment=passed, workdir=run.workdir, mounts={})
    return lambda out: store.run(container, out)


def _variables(entries: list[str]) -> dict[str, str]:
    """The variables with a value. One without gets that of the client, which has none by that name."""
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


async def _then(work: Awaitable[int], execution: Execution, images: list[str]) -> int:
    code = await work
    if not code:
        execution.note_local(images)
    return code


async def _push_once(image: str, execution: Execution, out: Output) -> int:
    pushed = await execution.store.push(image, out)
    if not pushed.exit_code:
        execution.note_pushed(image, pushed.digest)
    return pushed.exit_code


async def _build_step(step: Step, execution: Execution) -> Attempt:
    return await _build(read_docker_build(await _words(step, execution)), step.env, step, execution)


def _folder(step: Step, execution: Execution) -> Path:
    folder = execution.folder(step)
    if not folder.is_dir():
        raise StepFailed(f"the working directory {step.working_directory} does not exist")
    return folder


async def _build(command: DockerBuild, env: Sequence[str], step: Step, execution: Execution) -> Attempt:
    """A build. `env` are the variables of the docker client. Only a build step is scanned for dependencies."""
    log, folder = execution.log, _folder(step, execution)
    context, dockerfile = await asyncio.to_thread(_sources, folder, command, execution)
    arguments = command.values(env)
    used = await asyncio.to_thread(used_images, dockerfile, arguments, command.target, command.platform)
    if (count := len(used.all())) > _MOST_IMAGES:
        raise StepFailed(f"the Dockerfile names {count} images: the sandbox builds from {_MOST_IMAGES} at most")
    if step.kind is StepKind.BUILD:
        await _scan(step, folder, used, execution)
    else:
        for line in unscanned_bases(used):
            await log.say(line)
    await execution.store.warm([base.name for base in used.bases() if base.name not in execution.local])
    build = ImageBuild(
        context=context,
        dockerfile=dockerfile,
        tags=tuple(command.tags),
        images=tuple(BaseImage(i.name, i.platform) for i in used.all() if i.name not in execution.local),
        arguments=arguments,
        secret=frozenset(name for name, value in arguments.items() if log.masker.mask(value) != value),
        target=command.target,
        platform=command.platform,
        labels=tuple(command.labels),
        no_cache=command.no_cache,
        pull=command.pull,
    )
    return lambda out: _then(execution.store.build(build, out), execution, command.tags)


async def _scan(step: Step, folder: Path, used: UsedImages, execution: Execution) -> None:
    """Record what ACR records for a build step, and log what it does not see.

    Raises:
        StepFailed: the scan fails, as it does in ACR.
    """
    log, line = execution.log, read_build_line(step.run)
    await log.say("Scanning for dependencies...")
    try:
        text = await asyncio.to_thread(_scanned, folder, line.scanned_file, execution)
        bases = await asyncio.to_thread(scan, text, line)
    except ScanError as error:
        await log.say(f"Output from dependency scanning: {error}")
        await log.say(explained(error, used))
        raise StepFailed("failed to scan dependencies: exit status 1", 1) from error
    await log.say("Successfully scanned dependencies")
    for text in unseen_bases(used, bases):
        await log.say(text)
    names = frozenset(base.name for base in used.bases())
    execution.built[step.id] = Built(line.tags, bases, names, BUILDKIT in step.env)


def _scanned(folder: Path, name: str, execution: Execution) -> str:
    """The Dockerfile that ACR scans. Raises `ScanError` if it does not exist, and like `Execution.place`."""
    file = execution.place(folder, name)
    if not file.is_file():
        hint = "The scan sees options only if a space separates them from their value, and reads -f from the step's "
        message = f"error opening dockerfile: {name}, error: open {name}: no such file or directory"
        raise ScanError(message, hint=f"{hint}working directory.")
    return execution.read(file)


def _sources(folder: Path, command: DockerBuild, execution: Execution) -> tuple[Path, str]:
    """The context and the text of the Dockerfile.

    Raises:
        StepFailed: one of them does not exist, or is outside the workspace. So is a repository: the engine would clone
            it as root, and follow a link in it.
    """
    context = execution.place(folder, command.context)
    if not context.is_dir():
        raise StepFailed(f"the context {command.context} is no folder in {WORKSPACE}: a repository is a run's context")
    place = execution.place(folder, command.file) if command.file else execution.place(context, "Dockerfile")
    if not place.is_file():
        raise StepFailed(f"the Dockerfile {command.file or 'Dockerfile'} does not exist in the context")
    return context, execution.read(place)


def _container(step: Step, run: DockerRun, execution: Execution) -> RunContainer:
    workdir = posixpath.normpath(posixpath.join(WORKSPACE, step.working_directory))
    volumes = {execution.volumes[name]: path for name, path in step.volume_mounts}
    home = {execution.home: HOME} if execution.home else {}
    address, hosts = _network(step, execution)
    return RunContainer(
        name=run.name or step.id,
        image=run.image,
        arguments=run.arguments,
        environment=environment(run),
        entrypoint=run.entrypoint,
        user=run.user,
        workdir=run.workdir or (None if step.disable_working_directory_override else workdir),
        mounts={execution.context: WORKSPACE} | home | volumes,
        address=address,
        online=step.network != "none",
        hosts=hosts,
        detach=run.detach or step.detach,
        keep=step.keep,
    )


def _network(step: Step, execution: Execution) -> tuple[str | None, Mapping[str, str]]:
    """The step's address, and the addresses that it knows by name: those of the steps in the same network."""
    if step.network == "none":
        return None, {}
    same = {
        other.id for other in execution.task.steps if other.network == step.network and step.network not in _NAMELESS
    }
    hosts = {name: address for name, address in execution.addresses.items() if name in same}
    return execution.addresses.get(step.id), hosts
