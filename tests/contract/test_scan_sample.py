"""The sample that scans, with the stand-in scanner: from the candidate in a private registry to the report's bytes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sandbox.testing import scanner_image, shell_image, until, with_files
from shared.adapters.secrets_keyvault import VaultCredentials
from shared.adapters.tasks_acr import AcrTaskRunner
from shared.findings.frame import FrameReader
from shared.findings.model import BrokenReport
from shared.ports import Run, RunStatus
from tests.contract.place import VAULT_URL, Place

pytestmark = pytest.mark.containers

TASK = Path(__file__).parents[2] / "samples" / "scan-baseimage" / "acr-task.yaml"
NONCE = "3f0d9a52c1b84e67a0d4f2b95e7c8106"
PACKAGE = "usr/lib/node_modules/demo-colour/package.json"


@pytest.fixture(scope="module")
def runner(place: Place) -> AcrTaskRunner:
    place.push(place.base, "osv-match", "1", scanner_image())
    place.make_task(place.base, "scan-node", TASK.read_text())
    return AcrTaskRunner(place.credential, VaultCredentials(VAULT_URL, place.credential))


def test_the_report_is_in_the_log_of_the_run_and_names_the_digest_that_was_pulled(
    place: Place, runner: AcrTaskRunner
) -> None:
    image = with_files(shell_image(), {PACKAGE: b'{"name": "demo-colour", "version": "1.0.1"}'})
    server, content = place.base.login_server, place.push(place.base, "private/node", "15", image)
    values = {"IMAGE": f"{server}/private/node@{content}", "REPORT_NONCE": NONCE, "SCANNER": f"{server}/osv-match:1"}
    run_id = runner.start(place.base, "scan-node", values, "node/1")

    def ended() -> Run | None:
        run = runner.get(place.base, run_id)
        return run if run and run.status is not RunStatus.RUNNING else None

    run = until(ended)
    assert run.status is RunStatus.SUCCEEDED, runner.log(place.base, run.run_id, 10_000)
    log = list(runner.raw_log(place.base, run.run_id))
    report = json.loads(b"".join(FrameReader(NONCE, "scan").read(log)))
    assert report["Metadata"]["RepoDigests"] == [values["IMAGE"]]
    (finding,) = [finding for result in report["Results"] for finding in result["Vulnerabilities"]]
    assert (finding["VulnerabilityID"], finding["PkgPath"], finding["FixedVersion"]) == (
        "DEMO-2024-0001",
        PACKAGE,
        "1.0.2",
    )
    with pytest.raises(BrokenReport, match="not printed by step scan-image"):
        list(FrameReader(NONCE, "scan-image").read(log))
