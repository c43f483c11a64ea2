"""The sample repositories: their task files are valid, and their functional test says what the story relies on."""

from __future__ import annotations

import os
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sandbox.tasks.outcome import RunInfo
from sandbox.tasks.taskfile.parser import load_task_file

SAMPLES = Path(__file__).parents[2] / "samples"
CANDIDATE = "publicregistry.azurecr.io/node@sha256:" + "4f" * 32
RUN = RunInfo(id="ca4", registry="contoso.azurecr.io", date=datetime(2026, 1, 2, tzinfo=UTC))
VALUES = {
    "REGISTRY_FROM_URL": "docker.io/library/",
    "IMAGE": CANDIDATE,
    "TAG": "15-alpine",
    "BASE_IMAGE": CANDIDATE,
    "SCANNER": "contoso.azurecr.io/trivy@sha256:" + "5e" * 32,
    "REPORT_NONCE": "6d" * 16,
    "BUSYBOX": "contoso.azurecr.io/busybox@sha256:" + "6e" * 32,
    "SKOPEO": "contoso.azurecr.io/skopeo@sha256:" + "7e" * 32,
    "DEFENDER_TENANT_ID": "contoso",
    "DEFENDER_CLIENT_ID": "defender",
    "DEFENDER_CLIENT_SECRET": "a secret",
}
SHELL = (shutil.which("busybox") or "busybox", "sh")


@pytest.mark.parametrize(
    ("file", "steps", "pushed"),
    [
        ("base-image-node/acr-task.yaml", ["build-node", "push-node"], ["node:15-alpine-ca4", "node:15-alpine"]),
        ("import-baseimage-node/acr-task.yaml", ["build-test-base-image", "validate-base-image"], []),
        (
            "import-baseimage-node/acr-task-promoting.yaml",
            [
                "build-test-base-image",
                "validate-base-image",
                "pull-base-image",
                "retag-base-image",
                "retag-base-image-unique-tag",
                "push-unique-tag",
                "push-stable-tag",
            ],
            ["node:15-alpine-ca4", "node:15-alpine"],
        ),
        ("scan-baseimage/acr-task.yaml", ["scan-image", "scan"], []),
        ("scan-baseimage/grype.yaml", ["scan-image", "scan"], []),
        ("scan-baseimage/osv-scanner.yaml", ["pull-image", "scan-image", "scan"], []),
        ("scan-baseimage/defender.yaml", ["scan-image", "scan"], []),
        ("hello-world/acr-task.yaml", ["build-hello-world", "push-hello-world"], ["hello-world:ca4"]),
    ],
)
def test_every_task_file_is_valid_and_pushes_the_unique_tag_first(
    file: str, steps: list[str], pushed: list[str]
) -> None:
    task = load_task_file((SAMPLES / file).read_text(), RUN, VALUES)
    assert [step.id for step in task.steps] == steps
    images = [image for step in task.steps for image in step.images]
    assert images == [f"contoso.azurecr.io/{name}" for name in pushed]


@pytest.mark.parametrize("file", ["acr-task.yaml", "acr-task-promoting.yaml"])
def test_the_gates_task_names_the_candidate_by_digest_only(file: str) -> None:
    task = load_task_file((SAMPLES / "import-baseimage-node" / file).read_text(), RUN, VALUES)
    assert f"--build-arg IMAGE={CANDIDATE}" in " ".join(task.steps[0].run.split())
    assert "publicregistry" not in "".join(step.run for step in task.steps).replace(CANDIDATE, "")


def validate(folder: Path, node: str = "v15.14.0", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run test.sh where `node` is a script that says that version and can add up."""
    program = folder / "node"
    program.write_text(f'#!/bin/sh\n[ "$1" = -p ] && echo 42 || echo {node}\n')
    program.chmod(0o755)
    variables = {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "NODE_VERSION": "15-alpine", **environment}
    script = str(SAMPLES / "import-baseimage-node" / "test.sh")
    return subprocess.run([*SHELL, script], env=variables, capture_output=True, text=True, check=False, timeout=20)


@pytest.mark.parametrize("color", ["Red", "RED", "red"])
def test_red_is_stopped_in_whatever_case_it_is_written(tmp_path: Path, color: str) -> None:
    done = validate(tmp_path, BACKGROUND_COLOR=color)
    assert done.returncode == 1
    assert f"ERROR: Invalid Color: {color}\n" in done.stdout


@pytest.mark.parametrize("color", ["Green", "Orange", "DarkRed"])
def test_other_colours_pass(tmp_path: Path, color: str) -> None:
    done = validate(tmp_path, BACKGROUND_COLOR=color)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "Validation Complete - No Known Errors")


def test_a_node_that_is_not_the_promised_one_is_stopped(tmp_path: Path) -> None:
    done = validate(tmp_path, node="v16.0.0", BACKGROUND_COLOR="Green")
    assert done.returncode == 1
    assert "ERROR: Invalid Node: NODE_VERSION promises 15, node --version says v16.0.0" in done.stdout


def test_a_stand_in_that_says_what_it_is_passes_with_a_warning(tmp_path: Path) -> None:
    done = validate(tmp_path, node="v20.1.0", BACKGROUND_COLOR="Green", STAND_IN="Node 20.1.0 of this machine")
    assert done.returncode == 0
    assert "WARNING: Node is not validated" in done.stdout


def test_every_error_is_told_not_only_the_first(tmp_path: Path) -> None:
    done = validate(tmp_path, node="v16.0.0")
    assert "BACKGROUND_COLOR is not set" in done.stdout
    assert "Invalid Node" in done.stdout


def test_the_functional_test_is_executable() -> None:
    assert os.access(SAMPLES / "import-baseimage-node" / "test.sh", os.X_OK)
