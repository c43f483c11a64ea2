"""Completes the dependencies of a run with digests, after its steps, as ACR Tasks does.

Source: https://github.com/Azure/acr-builder (`builder/builder.go`, `builder/digest_docker.go`,
`builder/digest_remote.go`)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sandbox.tasks.outcome import ImageDependency, ImageReference, full_name, parse_image
from sandbox.tasks.runner.execution import Built, Execution
from sandbox.tasks.runner.log import dependency_lines
from sandbox.tasks.runner.references import SCRATCH, read_reference, with_tag
from sandbox.tasks.runner.unseen import missing_base

_SPELLED_BY_DOCKER = frozenset(("docker.io", "index.docker.io"))


class DigestUnknown(Exception):
    """A base image that was recorded is not there, so its digest cannot be read. This fails the run in ACR."""


async def populate_dependencies(execution: Execution) -> list[ImageDependency]:
    """Log and return the dependencies: one for each tag of a build, one without an image if it has no tag.

    A base's digest is the one used in the build, not the one that its tag refers to now; the digest of the image
    itself is known only if it was pushed.

    Raises:
        DigestUnknown: the log says of which base.
    """
    log, found = execution.log, list[ImageDependency]()
    digests = await execution.store.digests() if execution.built else {}
    for step_id, built in execution.built.items():
        await log.say(f"Populating digests for step ID: {step_id}...")
        digests |= await _missing(built, digests, execution)
        found += _of_build(built, digests, execution)
        await log.say(f"Successfully populated digests for step ID: {step_id}")
    if found:
        await log.say("The following dependencies were found:")
        await log.say("")
        for line in dependency_lines(found, execution.run.commit):
            await log.raw(line)
    return found


async def _missing(built: Built, digests: Mapping[str, str], execution: Execution) -> dict[str, str]:
    """Check that every base that was recorded is there, and fetch those that ACR would have.

    Without BuildKit, ACR builds the stages that nothing needs, too, and so has their bases; with it, ACR asks the
    registries.
    """
    log, fetched = execution.log, dict[str, str]()
    for base in built.bases.all():
        name = _local(base)
        if name in digests or name in execution.local or base == SCRATCH or read_reference(base).digest:
            continue
        if (name in built.used or built.has_buildkit) and not await execution.store.pull(name, _unsaid):
            fetched = await execution.store.digests()
            continue
        if name not in built.used:
            await log.say(missing_base(base, built.bases))
        reason = (
            f"Failed to Resolve the reference '{base}'"
            if built.has_buildkit
            else f"failed to query digests, msg: Error: No such object: {base}: exit status 1"
        )
        await log.raw(reason)
        raise DigestUnknown(reason)
    return fetched


async def _unsaid(_line: str) -> None:
    """Drop the output of a pull: ACR only asks the registry."""


def _of_build(built: Built, digests: Mapping[str, str], execution: Execution) -> list[ImageDependency]:
    runtime = _known(built.bases.runtime, digests)
    buildtime = tuple(_known(name, digests) for name in built.bases.buildtime)
    pushed = {full_name(replace(image, digest="")): image.digest for image in execution.pushed}
    images = [_known(with_tag(tag), pushed) for tag in built.tags]
    return [ImageDependency(image, runtime, buildtime) for image in images or (None,)]


def _known(name: str, digests: Mapping[str, str]) -> ImageReference:
    """An image with its digest. That of a name which Docker spells otherwise (`docker.io/…`) is not found in ACR."""
    image = read_reference(name)
    if image.digest or image.registry in _SPELLED_BY_DOCKER:
        return image
    return replace(image, digest=digests.get(_local(name), ""))


def _local(name: str) -> str:
    return full_name(parse_image(name))
