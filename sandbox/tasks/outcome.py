"""The inputs and the outcome of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from sandbox.engine.contract import Login

_DOCKER_HUB = "docker.io"
_DEFAULT_TIMEOUT_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class RunInfo:
    """The inputs of a run: the values of `{{.Run.X}}`, its credentials, and the secrets that its log must not show.

    `registry` is the login server ("contoso.azurecr.io"). `logins` are by login server. `secrets` are the
    resolved values of the task's secrets and secret arguments by name; they, and the passwords in `logins`,
    are masked wherever they occur in the log. `timeout_seconds` limits the whole run.
    """

    id: str
    registry: str
    date: datetime
    task_name: str = ""
    commit: str = ""
    branch: str = ""
    repository: str = ""
    git_tag: str = ""
    triggered_by: str = ""
    os: str = "linux"
    architecture: str = "amd64"
    logins: Mapping[str, Login] = field(default_factory=dict, repr=False)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout_seconds: float = _DEFAULT_TIMEOUT_SECONDS

    @property
    def registry_name(self) -> str:
        """The first label of the login server."""
        return self.registry.split(".", 1)[0]

    @property
    def shared_volume(self) -> str:
        """The name of the volume that steps share at /workspace."""
        return f"acb_volume_{self.id}"

    def variables(self) -> dict[str, str]:
        """The values of `{{.Run.<name>}}` by name."""
        return {
            "ID": self.id,
            "Registry": self.registry,
            "RegistryName": self.registry_name,
            "Date": self.date.strftime("%Y%m%d-%H%M%Sz"),
            "SharedVolume": self.shared_volume,
            "OS": self.os,
            "Architecture": self.architecture,
            "Commit": self.commit,
            "Branch": self.branch,
            "Repository": self.repository,
            "GitTag": self.git_tag,
            "TriggeredBy": self.triggered_by,
            "TaskName": self.task_name,
        }


class RunStatus(StrEnum):
    """The final status of a run, as in the ARM resource.

    Failed: a step failed. Error: the run could not be executed (bad reference, engine refused).
    """

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    TIMEOUT = "Timeout"
    CANCELED = "Canceled"
    ERROR = "Error"


@dataclass(frozen=True, slots=True)
class ImageReference:
    """An image in a registry. `tag` is empty if the reference was by digest, `digest` if it is unknown."""

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""


@dataclass(frozen=True, slots=True)
class ImageDependency:
    """The bases of a built image: that of its last stage, and those of the stages before."""

    image: ImageReference | None
    runtime: ImageReference | None
    buildtime: tuple[ImageReference, ...] = ()


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """The result of a run. `error` is `runErrorMessage` in ARM: empty on success, and masked like the log."""

    status: RunStatus
    error: str = ""
    failed_step: str | None = None
    exit_code: int | None = None
    output_images: tuple[ImageReference, ...] = ()
    dependencies: tuple[ImageDependency, ...] = ()
    elapsed_seconds: float = 0.0


def parse_image(name: str) -> ImageReference:
    """Parse an image name. The default registry is Docker Hub; without tag and digest, the tag is `latest`."""
    rest, _, digest = name.partition("@")
    head, slash, tail = rest.partition("/")
    if slash and ("." in head or ":" in head or head == "localhost"):
        registry, path = head, tail
    else:
        registry, path = _DOCKER_HUB, rest
    repository, _, tag = path.partition(":")
    if registry == _DOCKER_HUB and "/" not in repository:
        repository = f"library/{repository}"
    return ImageReference(registry, repository, tag or ("" if digest else "latest"), digest)


def full_name(image: ImageReference) -> str:
    """The fully qualified name, as the engine lists it."""
    tag = f":{image.tag}" if image.tag else ""
    digest = f"@{image.digest}" if image.digest and not image.tag else ""
    return f"{image.registry}/{image.repository}{tag}{digest}"
