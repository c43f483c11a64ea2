"""The sandbox for tests, demos and benchmarks: the public interface of this package. The rest may change.

    import os

    import pytest

    from sandbox.testing import Sandbox, unavailable

    @pytest.fixture(scope="session")
    def sandbox(tmp_path_factory):
        if reason := unavailable():
            pytest.skip(reason)
        with Sandbox(tmp_path_factory.mktemp("azure")) as sandbox:
            os.environ.update(sandbox.environment)  # the Azure SDKs, az, skopeo and git reach it
            yield sandbox

Resources are created as in Azure, with its SDKs. What Azure has no operation for is a method of `Sandbox`: Git
repositories, function apps, fault injection, logs, processes to kill.
"""

from sandbox.eventgrid import FaultSettings
from sandbox.events import EventCounts
from sandbox.lifecycle import SandboxError
from sandbox.needs import NeedError
from sandbox.programs import find_program
from sandbox.registry import OciImage, OciIndex
from sandbox.registry.oci import Manifest
from sandbox.sites import SiteView
from sandbox.testing.azurite import table_accounts
from sandbox.testing.images import shell_image, tiny_image, two_platforms, with_files
from sandbox.testing.instance import ProcessKind, Sandbox, install_needs, unavailable, until
from sandbox.upstream import scanner_image

__all__ = [
    "EventCounts",
    "FaultSettings",
    "Manifest",
    "NeedError",
    "OciImage",
    "OciIndex",
    "ProcessKind",
    "Sandbox",
    "SandboxError",
    "SiteView",
    "find_program",
    "install_needs",
    "scanner_image",
    "shell_image",
    "table_accounts",
    "tiny_image",
    "two_platforms",
    "unavailable",
    "until",
    "with_files",
]
