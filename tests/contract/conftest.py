"""One sandbox for the whole folder, with the scenario in it but without the app."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.testing import Sandbox, unavailable
from shared.adapters.secrets_keyvault import VaultCredentials
from tests.contract.place import VAULT_URL, Place
from tests.contract.recorder import Recorder
from tests.contract.registries.double import Certificates
from tests.contract.registries.doubles import Doubles, doubled

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder, and give each an id of its own: of two with one id, pytest-xdist runs one."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.contract)
        if operation := getattr(item, "operation_label", ""):  # schemathesis tells pytest the name of the test alone
            item._id = item.id.with_params(operation)
    if twice := [name for name, number in Counter(item.nodeid for item in items).items() if number > 1]:
        raise pytest.UsageError(f"several tests have the id {twice[0]}")


@pytest.fixture(scope="package")
def sandbox() -> Iterator[Sandbox]:
    """A running instance; this process's environment points at it until the folder's last test has ended."""
    if reason := unavailable():
        pytest.skip(reason)
    sandbox = Sandbox(Path(tempfile.mkdtemp(prefix="bg-contract-")))
    try:
        sandbox.start()
        with pytest.MonkeyPatch.context() as patch:
            for name, value in sandbox.environment.items():
                patch.setenv(name, value)
            yield sandbox
    finally:
        sandbox.erase()


@pytest.fixture(scope="package")
def recorder(sandbox: Sandbox) -> Iterator[Recorder]:
    """What is said between the adapters and the sandbox, from the first word on."""
    recorder = Recorder()
    with pytest.MonkeyPatch.context() as patch:
        recorder.listen(patch)
        yield recorder


@pytest.fixture(scope="package")
def place(sandbox: Sandbox, recorder: Recorder) -> Iterator[Place]:
    """The scenario's resources, and the hands to put more beside them."""
    place = Place(sandbox)
    try:
        place.provision()
        yield place
    finally:
        place.close()


@pytest.fixture(scope="package")
def secrets(place: Place) -> VaultCredentials:
    return VaultCredentials(VAULT_URL, place.credential)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority of the tests' own, for the doubles of registries."""
    return Certificates(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def doubles(certificates: Certificates) -> Iterator[Doubles]:
    """Doubles of registries, and a reader of tags that reaches nothing else."""
    with doubled(certificates) as doubles:
        yield doubles
