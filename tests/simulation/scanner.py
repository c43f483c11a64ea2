"""The scanner of a schedule: what it finds in an image follows from its database, which changes."""

from __future__ import annotations

import base64
import hashlib

import msgspec

from tests.simulation.outside import TaskRun
from tests.simulation.rules import REPORTING_TASK
from tests.simulation.scheduler import Scheduler


class Scanner:
    """`vulnerable` are the digests in which it finds something by its database, which was built at `built_at`."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self.vulnerable: set[str] = set()
        self.built_at = scheduler.true_now()

    def learn(self, content: str) -> None:
        """A newer database: something is found in an image, or it was no vulnerability."""
        self.vulnerable ^= {content}
        self.built_at = self._scheduler.true_now()

    def log_of(self, run: TaskRun) -> str:
        """The log of a run that scans, with its report; "" of any other."""
        if run.task != REPORTING_TASK:
            return ""
        image, nonce = run.values["IMAGE"], run.values["REPORT_NONCE"]
        found = [{"VulnerabilityID": "CVE-2026-1", "PkgName": "openssl", "InstalledVersion": "3", "Severity": "HIGH"}]
        is_vulnerable = image.rpartition("@")[2] in self.vulnerable
        report = {
            "SchemaVersion": 2,
            "StandIn": {"Name": "scanner", "Version": "1", "AdvisoriesModified": self.built_at.isoformat()},
            "ArtifactName": image,
            "Metadata": {"RepoDigests": [image]},
            "Results": [
                {
                    "Target": "os",
                    "Class": "os-pkgs",
                    "Type": "debian",
                    "Vulnerabilities": found if is_vulnerable else [],
                }
            ],
        }
        content = msgspec.json.encode(report)
        return (
            "2026/03/01 12:00:00 Executing step ID: scan. Timeout(sec): 600, Working directory: '', Network: 'x'\n"
            f"BASEGATE-REPORT-BEGIN {nonce} base64\n{base64.b64encode(content).decode()}\n"
            f"BASEGATE-REPORT-END {nonce} {hashlib.sha256(content).hexdigest()}\n"
        )
