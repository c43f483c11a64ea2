"""One sandbox instance: the folder of everything it writes, and the port it listens on."""

from __future__ import annotations

import base64
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from sandbox.private import has_content

SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
TENANT = "00000000-0000-0000-0000-00000000000a"
LOCATION = "eastus"

_OWN = frozenset(("logs", "settings.json"))
"""What every state folder has after its first start, even one that failed."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of an instance.

    `time_scale` divides Azure's long delays (Event Grid's retry schedule; lifetimes of tokens are not
    changed); `user` is who runs what needs no root, None the user behind sudo; `settings.json` in the state folder
    stores the settings for the next start.
    """

    port: int = 0
    time_scale: float = 1.0
    durable_storage: bool = True
    storage_account: str = "basegatestore"
    user: str | None = None


@dataclass(frozen=True, slots=True)
class Instance:
    """The paths of one instance. Nothing is written outside `root`."""

    root: Path

    @property
    def key(self) -> str:
        """Eight characters that identify this instance on the machine (in network and container names)."""
        return hashlib.sha256(str(self.root.resolve()).encode()).hexdigest()[:8]

    @property
    def settings_file(self) -> Path:
        """The file of the settings of the last start, with the port that it listens on."""
        return self.root / "settings.json"

    @property
    def pid_file(self) -> Path:
        """The file of the daemon's process id; exists while it runs."""
        return self.root / "daemon.pid"

    @property
    def control_socket(self) -> Path:
        """The socket of the sandbox's own operations."""
        return self.root / "control.sock"

    @property
    def ca_bundle(self) -> Path:
        """The certificates that clients must trust: the system's and the instance's own CA."""
        return self.root / "ca" / "bundle.pem"

    @property
    def logs(self) -> Path:
        """The folder of logs, one file per service."""
        return self.folder("logs")

    def create(self) -> None:
        """Create the state folder if it is missing, and close it to all users but its owner: it has secrets.

        So are its own folders. Those that other users' processes need are opened to them by `sandbox.rights`.

        Raises:
            OSError: it is another user's, or has files that no sandbox wrote: their modes are not changed.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        owner = self.root.stat().st_uid
        if owner not in (os.geteuid(), int(os.environ.get("SUDO_UID", os.geteuid()))):
            raise PermissionError(f"{self.root} belongs to user {owner}, who could read its secrets")
        names = {entry.name for entry in self.root.iterdir()}
        if names and names.isdisjoint(_OWN):
            raise FileExistsError(f"{self.root} is not empty, and no state of a sandbox")
        self.root.chmod(0o700)
        for folder in self.root.iterdir():
            if folder.is_dir() and not folder.is_symlink():
                folder.chmod(0o700)

    def folder(self, *parts: str) -> Path:
        """A folder below the root, created if missing; only its owner can enter the outermost one."""
        path = self.root.joinpath(*parts)
        self.root.mkdir(parents=True, exist_ok=True)
        self.root.joinpath(*parts[:1]).mkdir(mode=0o700, exist_ok=True)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def client_environment(self, port: int, identity_header: str) -> dict[str, str]:
        """The environment variables with which the Azure SDKs, `az`, podman, skopeo and git reach this instance
        under Azure's real host names.

        A push to github.com is signed in with the same secret as the managed identity.
        Source: https://git-scm.com/docs/git-config#ENVIRONMENT
        """
        push = base64.b64encode(f"sandbox:{identity_header}".encode()).decode()
        gateway = f"http://127.0.0.1:{port}"
        bundle = str(self.ca_bundle)
        return {
            "HTTPS_PROXY": gateway,
            "https_proxy": gateway,
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            "REQUESTS_CA_BUNDLE": bundle,
            "SSL_CERT_FILE": bundle,
            "CURL_CA_BUNDLE": bundle,
            "GIT_SSL_CAINFO": bundle,
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "http.https://github.com/.extraHeader",
            "GIT_CONFIG_VALUE_0": f"Authorization: Basic {push}",
            "IDENTITY_ENDPOINT": f"{gateway}/msi/token",
            "IDENTITY_HEADER": identity_header,
        }


def read_settings(instance: Instance) -> Settings:
    """The settings an instance was last started with, or the defaults."""
    if has_content(instance.settings_file):
        return msgspec.json.decode(instance.settings_file.read_bytes(), type=Settings)
    return Settings()
