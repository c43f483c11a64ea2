"""Attempts to execute a step: a build, a container, or a docker command that the engine executes itself."""

from __future__ import annotations

import asyncio
import posixpath
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from sandbox.engine.contract import ImageBuild, Output, RunContainer
from sandbox.tasks.runner.command_line import (
    DockerBuild,
    DockerCommandError,
    read_docker_build,
    read_docker_run,
    split_docker,
    split_words,
)
from sandbox.tasks.runner.dockerfile import ScanError, read_build_line, scan
from sandbox.tasks.runner.execution import WORKSPACE, Built, Execution, StepFailed
from sandbox.tasks.runner.stages import UsedImages, used_images
from sandbox.tasks.runner.unseen import explained, unscanned_bases, unseen_bases
from sandbox.tasks.taskfile.model import Step, StepKind

Attempt = Callable[[Output], Awaitable[int]]
_BUILDKIT = "DOCKER_BUILDKIT=1"


async def prepare(step: Step, execution: Execution) -> Attempt:
    """Prepare a build or cmd step; the returned function executes it once and returns the exit code.

    Raises:
        StepFailed: if the command line is not supported here, or an explicit pull fails.
    """
    try:
        words = split_words(step.run)
        if step.kind is StepKind.BUILD:
            return await _build(words, step, execution)
        docker = split_docker(words)
        if docker:
            return await _docker(*docker, step, execution)
    except DockerCommandError as error:
        raise StepFailed(str(error)) from error
    except ValueError as error:
        raise StepFailed(f"the command line cannot be parsed: {error}") from error
    container = _container(step, words[0], tuple(words[1:]), execution)
    if step.pull:
        await execution.log.say("Step specified pull. Performing an explicit pull...")
        if code := await execution.store.pull(words[0], execution.log.output):
            raise StepFailed(f"exit status {code}", code)
    return lambda out: execution.store.run(container, out)


async def _docker(command: str, arguments: list[str], step: Step, execution: Execution) -> Attempt:
    store = execution.store
    match command:
        case "build":
            return await _build(arguments, step, execution)
        case "pull":
            return lambda out: _then(store.pull(arguments[0], out), execution, arguments)
        case "tag":
            return lambda out: _then(store.tag(arguments[0], arguments[1], out), execution, arguments[1:])
        case "push":
            return lambda out: _push_once(arguments[0], execution, out)
    run = read_docker_run(arguments)
    container = _container(step, run.image, run.arguments, execution, run.env)
    container = replace(
        container,
        name=run.name or step.id,
        entrypoint=run.entrypoint,
        user=run.user,
        workdir=run.workdir,
        mounts={},
        detach=run.detach or step.detach,
    )
    return lambda out: store.run(container, out)


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


async def _build(words: list[str], step: Step, execution: Execution) -> Attempt:
    log, folder = execution.log, execution.folder(step)
    if not folder.is_dir():
        raise StepFailed(f"the working directory {step.working_directory} does not exist")
    command = read_docker_build(words)
    context, dockerfile = await asyncio.to_thread(_sources, folder, command, execution)
    arguments = command.values(step.env)
    used = used_images(dockerfile, arguments, command.target, command.platform)
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
        bases = scan(await asyncio.to_thread(_scanned, folder, line.scanned_file, execution), line)
    except ScanError as error:
        await log.say(f"Output from dependency scanning: {error}")
        await log.say(explained(error, used))
        raise StepFailed("failed to scan dependencies: exit status 1", 1) from error
    await log.say("Successfully scanned dependencies")
    for text in unseen_bases(used, bases):
        await log.say(text)
    names = frozenset(base.name for base in used.bases())
    execution.built[step.id] = Built(line.tags, bases, names, _BUILDKIT in step.env)


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
    name = command.file or "Dockerfile"
    places = [execution.place(at, name) for at in ((folder, context) if command.file else (context,))]
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        raise StepFailed(f"the Dockerfile {name} does not exist in the context")
    return context, execution.read(file)


def _container(
    step: Step, image: str, arguments: tuple[str, ...], execution: Execution, env: list[str] | None = None
) -> RunContainer:
    execution.folder(step)
    workdir = posixpath.normpath(posixpath.join(WORKSPACE, step.working_directory))
    return RunContainer(
        name=step.id,
        image=image,
        arguments=arguments,
        environment=dict(entry.partition("=")[::2] for entry in (*step.env, *(env or ()))),
        entrypoint=step.entry_point,
        user=step.user,
        workdir=None if step.disable_working_directory_override else workdir,
        mounts={execution.context: WORKSPACE}
        | {execution.volumes[name]: path for name, path in step.volume_mounts.items()},
        address=execution.addresses.get(step.id),
        hosts=execution.addresses,
        detach=step.detach,
        keep=step.keep,
    )
