"""What the images of a run stand on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sandbox.tasks.execution import Execution
from sandbox.tasks.image import full_name, parse_image
from sandbox.tasks.outcome import ImageDependency, ImageReference


def find_dependencies(execution: Execution, digests: Mapping[str, str]) -> list[ImageDependency]:
    """One dependency for each tag that was built. A base's digest is the one that was built on, not what its tag means
    by now; the image's own is known only if it was pushed."""
    pushed = {full_name(replace(image, digest="")): image.digest for image in execution.pushed}
    found = []
    for tags, bases in execution.built.values():
        runtime = _known(bases.runtime, digests) if bases.runtime else None
        buildtime = tuple(_known(name, digests) for name in bases.buildtime)
        found += [ImageDependency(_known(tag, pushed), runtime, buildtime) for tag in tags]
    return found


def _known(name: str, digests: Mapping[str, str]) -> ImageReference:
    image = parse_image(name)
    return image if image.digest else replace(image, digest=digests.get(full_name(image), ""))
