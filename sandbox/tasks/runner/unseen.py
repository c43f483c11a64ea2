"""Says which images of a build ACR Tasks does not record, so that no base-image trigger fires when they change."""

from __future__ import annotations

from collections.abc import Iterator

from sandbox.tasks.outcome import full_name, parse_image
from sandbox.tasks.runner.dockerfile import Bases, ScanError
from sandbox.tasks.runner.stages import UsedImage, UsedImages

_PLAINLY = "write its name in FROM plainly, or as ${NAME} of one ARG NAME=VALUE above the first FROM"


def unseen_bases(used: UsedImages, bases: Bases) -> Iterator[str]:
    """One line for each image that the build uses and that ACR does not record, or records as something else."""
    runtime, recorded = _full(bases.runtime), {_full(name) for name in bases.all()}
    for base in used.bases():
        if base.name not in recorded:
            yield f"{_begin(base)}: {_instead(base, bases)}. No base-image trigger fires for it: {_PLAINLY}."
        elif base == used.runtime and base.name != runtime:
            yield (
                f"{_begin(base)} as the runtime base: it records {bases.runtime} as that. A base-image trigger of type "
                "Runtime does not fire for it: write --target NAME with a space, and a stage's name in the same case "
                "everywhere."
            )
    for image in used.copied:
        if image.name not in recorded:
            yield (
                f"{_begin(image)}: its scan reads no COPY. No base-image trigger fires for it: give it a stage of its "
                "own (FROM IMAGE AS NAME, COPY --from=NAME)."
            )


def unscanned_bases(used: UsedImages) -> Iterator[str]:
    """One line for each base of a `docker build` in a cmd step, which ACR does not scan."""
    for base in used.bases():
        yield (
            f"{_begin(base)}: it does not scan `docker build` in a cmd step. No base-image trigger fires for it: make "
            "the step a build step."
        )


def explained(error: ScanError, used: UsedImages) -> str:
    """What stops the scan, where, and what to do, for the run's log."""
    where = f"Line {error.line} of the Dockerfile" if error.line else "The Dockerfile, or the value of build,"
    return f"{where} stops the dependency scan of ACR Tasks. {remedy(error, used)}".rstrip()


def remedy(error: ScanError, used: UsedImages) -> str:
    """What to do about an error of the scan; empty if its message says all there is."""
    if error.hint or not error.line:
        return error.hint
    if error.line in used.instructions:
        return f"If an image is meant, {_PLAINLY}."
    return (
        "ACR Tasks takes every line that begins with FROM or ARG for an instruction, in a heredoc and in a continued "
        "line, too: begin the line with something else."
    )


def missing_base(name: str, bases: Bases) -> str:
    """Why a run ends in an error although its builds have succeeded, for the run's log."""
    line = next((number for number, read in bases.read.items() if _full(read) == _full(name)), 0)
    return (
        f"ACR Tasks records {name} as a base image (line {line} of the Dockerfile), the build does not use it, and so "
        f"its digest cannot be read: {_PLAINLY}."
    )


def _begin(image: UsedImage) -> str:
    return f"ACR will not see this base: {image.name} (line {image.line} of the Dockerfile)"


def _instead(base: UsedImage, bases: Bases) -> str:
    read = bases.read.get(base.line)
    return f"its scan reads {read} there" if read else "its scan does not read that line"


def _full(name: str) -> str:
    return full_name(parse_image(name))
