"""Image names."""

from __future__ import annotations

from sandbox.tasks.outcome import ImageReference

DOCKER_HUB = "docker.io"


def parse_image(name: str) -> ImageReference:
    """Take an image name apart. Without a registry it is Docker Hub's, without tag and digest it is `latest`."""
    rest, _, digest = name.partition("@")
    head, slash, tail = rest.partition("/")
    if slash and ("." in head or ":" in head or head == "localhost"):
        registry, path = head, tail
    else:
        registry, path = DOCKER_HUB, rest
    repository, _, tag = path.partition(":")
    if registry == DOCKER_HUB and "/" not in repository:
        repository = f"library/{repository}"
    return ImageReference(registry, repository, tag or ("" if digest else "latest"), digest)


def full_name(image: ImageReference) -> str:
    """The name that says everything, as the engine lists it."""
    tag = f":{image.tag}" if image.tag else ""
    digest = f"@{image.digest}" if image.digest and not image.tag else ""
    return f"{image.registry}/{image.repository}{tag}{digest}"
