"""One step: build, push or cmd, with its delays, retries and time limit, in ACR's words."""

from __future__ import annotations

import asyncio
import posixpath
import shlex
from collections.abc import Awaitable, Callable
from dataclasses import replace

from sandbox.engine.contract import Output, RunContainer
from sandbox.tasks.docker_command import DockerCommandError, read_docker_run, split_docker
from sandbox.tasks.dockerfile import find_bases, read_build_command
from sandbox.tasks.execution import WORKSPACE, Execution, StepFailed
from sandbox.tasks.image import full_name, parse_image
from sandbox.tasks.model import Step, StepKind

_PUSH_ATTEMPTS = 3
_KEPT_LINES = 1000
Attempt = Callable[[Output], Awaitable[int]]


async def run_step(step: Step, execution: Execution) -> None:
    """Carry out a step.

    Raises:
        StepFailed: where it did not succeed, with ACR's words.
    """
    log, network = execution.log, "acb_default_network" if step.id in execution.addresses else step.network
    await log.say(
        f"Executing step ID: {step.id}. Timeout(sec): {step.timeout}, "
        f"Working directory: '{step.working_directory}', Network: '{network}'"
    )
    if step.start_delay:
        await log.say(f"Waiting {step.start_delay} seconds before executing step ID: {step.id}")
        await execution.sleep(step.start_delay)
    try:
        async with asyncio.timeout(step.timeout):
            if step.kind is StepKind.PUSH:
                await _push(step.images, execution)
            else:
                await _repeat(step, await _prepare(step, execution), execution)
    except TimeoutError:
        raise StepFailed("context deadline exceeded") from None


async def _push(images: tuple[str, ...], execution: Execution) -> None:
    for image in images:
        for attempt in range(_PUSH_ATTEMPTS):
            await execution.log.say(f"Pushing image: {image}, attempt {attempt + 1}")
            pushed = await execution.store.push(image, execution.log.raw)
            if not pushed.exit_code:
                break
            await execution.sleep(2**attempt)
        else:
            raise StepFailed("failed to push images successfully", pushed.exit_code)
        execution.note_pushed(image, pushed.digest)
        await execution.log.say(f"Successfully pushed image: {image}")


async def _prepare(step: Step, execution: Execution) -> Attempt:
    """What one attempt at the step does."""
    try:
        words = shlex.split(step.run)
        if step.kind is StepKind.BUILD:
            return await _build(words, step, execution)
        docker = split_docker(words)
        if docker:
            return await _docker(*docker, step, execution)
    except DockerCommandError as error:
        raise StepFailed(str(error)) from error
    except ValueError as error:
        raise StepFailed(f"the command line cannot be read: {error}") from error
    container = _container(step, words[0], tuple(words[1:]), execution)
    if step.pull:
        await execution.log.say("Step specified pull. Performing an explicit pull...")
        if code := await execution.store.pull(words[0], execution.log.raw):
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
    command = read_build_command(words)
    await log.say("Scanning for dependencies...")
    file = next((path for path in (folder / command.file, folder / command.context / command.file) if path.is_file()),
                folder / command.context / "Dockerfile")  # fmt: skip
    text = await asyncio.to_thread(file.read_text) if file.is_file() else ""
    variables = dict(entry.split("=", 1) for entry in step.env)
    arguments = {name: value or variables.get(name, "") for name, value in command.arguments.items()}
    bases = find_bases(text, arguments, command.target)
    await log.say("Successfully scanned dependencies")
    names = [full_name(parse_image(name)) for name in bases.all()]
    await execution.store.warm([name for name in names if name not in execution.local])
    execution.built[step.id] = (command.tags, bases)
    line = [_with_value(word, before, variables) for before, word in zip(["", *words], words, strict=False)]
    return lambda out: _then(execution.store.build(line, folder, out), execution, command.tags)


def _with_value(word: str, before: str, variables: dict[str, str]) -> str:
    """`--build-arg NAME` takes its value from the step's environment, which the engine does not see."""
    return f"{word}={variables[word]}" if before == "--build-arg" and word in variables else word


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


async def _repeat(step: Step, attempt: Attempt, execution: Execution) -> None:
    failures = []
    for _ in range(step.repeat + 1):
        try:
            await _retry(step, attempt, execution)
        except StepFailed as failure:
            failures.append(failure)
    if failures:
        raise StepFailed("; ".join(map(str, failures)), failures[-1].exit_code)


async def _retry(step: Step, attempt: Attempt, execution: Execution) -> None:
    log, last = execution.log, step.retries
    for number in range(last + 1):
        await log.say(f"Launching container with name: {step.id}")
        said: list[str] = []

        async def out(line: str, said: list[str] = said) -> None:
            await log.raw(line)
            if len(said) < _KEPT_LINES:
                said.append(line)

        code = await attempt(out)
        if not code:
            await log.say(f"Successfully executed container: {step.id}")
            return
        if number < last and _worth_retrying(step, said):
            await log.say(
                f"Container failed during run: {step.id}, waiting {step.retry_delay} seconds before retrying..."
            )
            await execution.store.remove(step.id)
            await execution.sleep(step.retry_delay)
            continue
        break
    await log.say(f"Container failed during run: {step.id}. No retries remaining.")
    raise StepFailed(f"exit status {code}", code)


def _worth_retrying(step: Step, said: list[str]) -> bool:
    return not step.retry_on_errors or any(error in line for error in step.retry_on_errors for line in said)
