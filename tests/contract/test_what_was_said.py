"""What all the tests before said to the sandbox, and what it answered, against Azure's own descriptions.

pytest takes the files of a folder in the order of their names, and this one is the last. Alone, it looks at what
provisioning said.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from demo import scenario
from tests.contract.place import Place
from tests.contract.recorder import Exchange, Recorder
from tests.contract.specs import Specifications, specifications_folder

FOLDER = specifications_folder() or Path("specification")


@pytest.mark.skipif(not FOLDER.is_dir(), reason="no clone of Azure/azure-rest-api-specs in AZURE_REST_API_SPECS")
def test_everything_said_fits_azure_s_own_descriptions(place: Place, recorder: Recorder) -> None:
    specifications = Specifications(FOLDER)
    seen, faults = Counter[str](), set[str]()
    for exchange in recorder.exchanges:
        if exchange.status == 401 or not (description := specifications.describe(exchange)):
            continue
        seen[description.name] += 1
        faults |= {f"{exchange.name} {fault}" for fault in specifications.faults(exchange, description)}
    assert not faults, "\n".join(sorted(faults))
    assert {"Registries_Create", "Tasks_Create", "SetSecret", "EventSubscriptions_CreateOrUpdate"} <= set(seen)


def test_the_description_that_fixes_most_of_a_url_is_the_operation_s() -> None:
    if not FOLDER.is_dir():
        pytest.skip("no clone of Azure/azure-rest-api-specs in AZURE_REST_API_SPECS")
    url = "https://vault.vault.azure.net/secrets/flag"
    for path, name in (("/versions", "GetSecretVersions"), ("/0123456789abcdef", "GetSecret")):
        described = Specifications(FOLDER).describe(Exchange("GET", f"{url}{path}?api-version=7.5", None, 200, {}))
        assert described is not None and described.name == name


def test_a_description_that_does_not_fit_is_noticed() -> None:
    """The net has no holes: a wrong type, a missing field, an unknown value and an unknown status are found."""
    if not FOLDER.is_dir():
        pytest.skip("no clone of Azure/azure-rest-api-specs in AZURE_REST_API_SPECS")
    specifications = Specifications(FOLDER)
    url = f"https://management.azure.com{scenario.registry_id(scenario.TEAM)}"

    def faults(method: str, path: str, sent: object, status: int, answered: object) -> list[str]:
        exchange = Exchange(method, f"{url}{path}?api-version=1", sent, status, answered)
        description = specifications.describe(exchange)
        assert description
        return sorted(specifications.faults(exchange, description))

    run = {"properties": {"runId": "ca1", "status": "succeeded", "runType": None}}
    assert faults("GET", "/runs/ca1", None, 200, run) == []
    assert faults("GET", "/runs/ca1", None, 200, {"properties": {"runId": 1}})[0].startswith("answer.properties.runId")
    assert "not one of" in faults("GET", "/runs/ca1", None, 200, {"properties": {"status": "Done"}})[0]
    assert "None is not one of ['DockerBuildRequest'" in faults("POST", "/scheduleRun", {}, 200, run)[-1]
    assert faults("POST", "/scheduleRun", {"type": "TaskRunRequest"}, 204, None) == [
        "Registries_ScheduleRun answers 200, 202, default",
        "request: 'taskId' is a required property",
    ]
