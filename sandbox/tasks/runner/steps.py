"""Executes the steps of a run: each starts when its predecessors have succeeded, with its delays, retries and timeout,
logged in ACR's wording; the first failure ends all of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from sandbox.tasks.runner.attempts import Attempt, prepare
from sandbox.tasks.runner.execution import Execution, StepFailed
from sandbox.tasks.taskfile.graph import predecessors
from sandbox.tasks.taskfile.model import Step, StepKind

_PUSH_ATTEMPTS = 3


class RunStopped(Exception):
    """A step failed, and therefore the run."""

    def __init__(self, step_id: str, failure: StepFailed) -> None:
        super().__init__(f"{step_id}: {failure}")
        self.step_id, self.failure = step_id, failure


async def carry_out(execution: Execution) -> dict[str, float]:
    """Execute all steps and return the duration of each in seconds, by step id.

    Raises:
        RunStopped: for the first step that failed; the others are cancelled.
    """
    steps = execution.task.steps
    before, succeeded = predecessors(steps), {step.id: asyncio.Event() for step in steps}
    elapsed: dict[str, float] = {}
    tasks = [asyncio.create_task(_step(step, before, succeeded, elapsed, execution), name=step.id) for step in steps]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return elapsed


async def _step(
    step: Step,
    before: Mapping[str, tuple[str, ...]],
    succeeded: Mapping[str, asyncio.Event],
    elapsed: dict[str, float],
    execution: Execution,
) -> None:
    for name in before[step.id]:
        await succeeded[name].wait()
    started = time.monotonic()
    try:
        await _run_step(step, execution)
    except StepFailed as failure:
        if not step.ignore_errors:
            raise RunStopped(step.id, failure) from failure
        await execution.log.say(
            f"Step ID: {step.id} encountered an error: {failure}, but is set to ignore errors. Continuing..."
        )
    elapsed[step.id] = time.monotonic() - started
    succeeded[step.id].set()


async def _run_step(step: Step, execution: Execution) -> None:
    """Execute a step.

    Raises:
        StepFailed: if it did not succeed, in ACR's wording.
    """
    log = execution.log
    await log.say(
        f"Executing step ID: {step.id}. Timeout(sec): {step.timeout}, "
        f"Working directory: '{step.working_directory}', Network: '{step.network}'"
    )
    if step.start_delay > 0:
        await log.say(f"Waiting {step.start_delay} seconds before executing step ID: {step.id}")
        await execution.sleep(step.start_delay)
    try:
        async with asyncio.timeout(step.timeout):
            if step.kind is StepKind.PUSH:
                await _push(step.images, execution)
            else:
                await _repeat(step, await prepare(step, execution), execution)
    except TimeoutError:
        raise StepFailed("context deadline exceeded") from None


async def _push(images: tuple[str, ...], execution: Execution) -> None:
    for image in images:
        for attempt in range(_PUSH_ATTEMPTS):
            await execution.log.say(f"Pushing image: {image}, attempt {attempt + 1}")
            pushed = await execution.store.push(image, execution.log.output)
            if not pushed.exit_code:
                break
            await execution.sleep(2**attempt)
        else:
            raise StepFailed("failed to push images successfully", pushed.exit_code)
        execution.note_pushed(image, pushed.digest)
        await execution.log.say(f"Successfully pushed image: {image}")


async def _repeat(step: Step, attempt: Attempt, execution: Execution) -> None:
    failures = []
    for _ in range(step.repeat + 1):
        try:
            await _retry(step, attempt, execution)
        except StepFailed as failure:
            failures.append(failure)
    if failures:
        raise StepFailed(", ".join(map(str, failures)), failures[-1].exit_code)


async def _retry(step: Step, attempt: Attempt, execution: Execution) -> None:
    log, last = execution.log, step.retries
    for number in range(last + 1):
        await log.say(f"Launching container with name: {step.id}")
        seen: set[str] = set()

        async def out(line: str, seen: set[str] = seen) -> None:
            await log.output(line)
            seen.update(error for error in step.retry_on_errors if error in line)

        code = await attempt(out)
        if not code:
            await log.say(f"Successfully executed container: {step.id}")
            return
        if number < last and (seen or not step.retry_on_errors):
            await log.say(
                f"Container failed during run: {step.id}, waiting {step.retry_delay} seconds before retrying..."
            )
            await execution.store.remove(step.id)
            await execution.sleep(step.retry_delay)
            continue
        break
    await log.say(f"Container failed during run: {step.id}. No retries remaining.")
    raise StepFailed(f"exit status {code}", code)
