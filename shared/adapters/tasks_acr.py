"""ACR Tasks: starts, finds, reads and cancels runs through Azure Resource Manager."""

import base64
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from azure.core.exceptions import HttpResponseError
from azure.mgmt.containerregistrytasks import ContainerRegistryTasksMgmtClient
from azure.mgmt.containerregistrytasks.models import OverrideTaskStepProperties, SetValue, TaskRunRequest
from azure.mgmt.containerregistrytasks.models import Run as AzureRun
from azure.storage.blob import BlobClient

from shared.adapters.azure_calls import (
    STORAGE_DEADLINES,
    TASKS_NOT_ALLOWED,
    Identity,
    error_code,
    expected,
    per_subscription,
    registry_id,
    translated,
)
from shared.adapters.redaction import readable, without_secrets
from shared.domain.errors import Cause, Malformed, Misconfigured, Rejected, Retry
from shared.domain.image import parse_digest
from shared.domain.policy import RegistryRule
from shared.ports import OutputImage, Run, RunStatus, Secrets

_ROLE = "give the app Container Registry Tasks Contributor on the registry"
_SKEW = timedelta(seconds=30)
_RUNS_SEARCHED = 50
_LONGEST_SECRET = 3 * 25 * 1024  # quoted for a URL: https://learn.microsoft.com/azure/key-vault/secrets/about-secrets
_IN_CHUNKS = {"max_single_get_size": 1024 * 1024, "max_chunk_get_size": 1024 * 1024}
_NO_TASK = "basegate-readyz"
_MISSING = frozenset((400, 404, 409))
"""The statuses for a task that does not exist, if the caller may start runs."""

_STATUSES = {"Succeeded": RunStatus.SUCCEEDED, "Failed": RunStatus.FAILED}
_RUNNING = frozenset(("Queued", "Started", "Running"))


class AcrTaskRunner:
    """Implements the port `TaskRunner`.

    A run is marked by its `updateTriggerToken`, which Azure keeps: a run whose id was never recorded is found by it.
    """

    def __init__(self, credential: Identity, secrets: Secrets) -> None:
        self._client, self._secrets = per_subscription(ContainerRegistryTasksMgmtClient, credential), secrets

    def start(self, registry: RegistryRule, task: str, values: Mapping[str, str], token: str) -> str:
        subscription, group, name = registry_id(registry)
        given = [SetValue(name=key, value=value, is_secret=False) for key, value in values.items()]
        mark = base64.b64encode(token.encode()).decode()
        overrides = OverrideTaskStepProperties(values_property=given, update_trigger_token=mark)
        request = TaskRunRequest(task_id=f"{registry.id}/tasks/{task}", override_task_step_properties=overrides)
        doing = f"starting task {task} of {registry.login_server}"
        with translated(doing, remedy=_ROLE), expected(404, instead=_no_task(registry, task)):
            return str(self._client(subscription).registries.schedule_run(group, name, request).run_id)

    def check(self, registry: RegistryRule, task: str) -> None:
        """Only a start shows that a subscription may not run tasks. So the start of a task that does not exist is
        requested: a caller who may start runs gets a 404.
        """
        subscription, group, name = registry_id(registry)
        with translated(f"checking that task {task} of {registry.login_server} can be started", remedy=_ROLE):
            client = self._client(subscription)
            with expected(404, instead=_no_task(registry, task)):
                found = client.tasks.get(group, name, task)
            if found.status == "Disabled":
                problem = f"task {task} of {registry.login_server} is disabled"
                remedy = f"az acr task update --registry {name} --name {task} --status Enabled"
                raise Misconfigured(problem, cause=Cause.TASK, remedy=remedy)
            try:
                request = TaskRunRequest(task_id=f"{registry.id}/tasks/{_NO_TASK}")
                client.registries.schedule_run(group, name, request)
            except HttpResponseError as error:
                if error.status_code not in _MISSING or error_code(error) == TASKS_NOT_ALLOWED:
                    raise

    def find(self, registry: RegistryRule, task: str, token: str, since: datetime) -> str | None:
        marked = self.marked(registry, task, since)
        return next((run_id for run_id, mark in marked if mark == token), None)

    def marked(self, registry: RegistryRule, task: str, since: datetime) -> Iterator[tuple[str, str]]:
        subscription, group, name = registry_id(registry)
        with translated(f"listing the runs of task {task} of {registry.login_server}", remedy=_ROLE):
            runs = self._client(subscription).runs.list(group, name, filter=f"TaskName eq '{task}'", top=_RUNS_SEARCHED)
            for run in runs:
                if run.create_time is not None and run.create_time < since - _SKEW:
                    return
                if run.update_trigger_token:
                    yield str(run.run_id), _decoded(run.update_trigger_token)

    def get(self, registry: RegistryRule, run_id: str) -> Run | None:
        subscription, group, name = registry_id(registry)
        with translated(f"reading run {run_id} of {registry.login_server}", remedy=_ROLE), expected(404):
            return self._run(registry, self._client(subscription).runs.get(group, name, run_id))
        return None

    def log(self, registry: RegistryRule, run_id: str, limit_bytes: int) -> str:
        """A secret cut in two at the beginning would not be recognized: so more is read, and cut off afterwards."""
        doing = f"reading the log of run {run_id} of {registry.login_server}"
        with translated(doing, remedy=_ROLE), self._log_blob(registry, run_id) as blob:
            size = blob.get_blob_properties().size
            start = max(0, size - limit_bytes - _LONGEST_SECRET)
            content = blob.download_blob(offset=start, length=size - start).readall() if size else b""
        parts, given = (content, content[:_LONGEST_SECRET] if start else b""), self._given(registry)
        text, more = (without_secrets(part.decode(errors="replace"), given) for part in parts)
        return text[len(more) :][-limit_bytes:]

    def raw_log(self, registry: RegistryRule, run_id: str) -> Iterator[bytes]:
        """Every chunk is requested of the blob as it was at first: what is appended meanwhile ends the reading."""
        doing = f"reading the whole log of run {run_id} of {registry.login_server}"
        changed = Retry(f"{doing}: it changed meanwhile")
        with (
            translated(doing, remedy=_ROLE),
            expected(412, instead=changed),
            self._log_blob(registry, run_id, **_IN_CHUNKS) as blob,
        ):
            yield from blob.download_blob().chunks()

    def _log_blob(self, registry: RegistryRule, run_id: str, **options: Any) -> BlobClient:
        """The blob with the log of a run. Its URL grants access: it is never stored or logged."""
        subscription, group, name = registry_id(registry)
        link = self._client(subscription).runs.get_log_sas_url(group, name, run_id).log_link
        if not link:
            raise Retry(f"run {run_id} of {registry.login_server} has no log yet")
        return BlobClient.from_blob_url(link, **STORAGE_DEADLINES, **options)

    def cancel(self, registry: RegistryRule, run_id: str) -> None:
        subscription, group, name = registry_id(registry)
        with translated(f"canceling run {run_id} of {registry.login_server}", remedy=_ROLE), expected(404, 409):
            self._client(subscription).runs.cancel(group, name, run_id)

    def _given(self, registry: RegistryRule) -> list[str]:
        """The vault values that a run may have received; a user named like the registry is not a secret."""
        return [value for value in self._secrets.values() if value not in registry.login_server]

    def _run(self, registry: RegistryRule, run: AzureRun) -> Run:
        status = str(getattr(run.status, "value", run.status) or "")
        known = RunStatus.RUNNING if status in _RUNNING else _STATUSES.get(status, RunStatus.BROKEN)
        return Run(
            run_id=str(run.run_id),
            status=known,
            detail=f"{status}{self._message(registry, run)}",
            task=str(run.task or "").rpartition("/")[2],
            mark=_decoded(run.update_trigger_token) if run.update_trigger_token else "",
            outputs=tuple(_outputs(run)),
            created_at=run.create_time,
            started_at=run.start_time or run.create_time,
            finished_at=run.finish_time,
        )

    def _message(self, registry: RegistryRule, run: AzureRun) -> str:
        """The service's message about a failed run, withheld if the secrets in it cannot be known."""
        if not run.run_error_message:
            return ""
        try:
            return f": {readable(run.run_error_message, self._given(registry))}"
        except (Retry, Misconfigured, Rejected) as error:
            return f": (its message is withheld: {error.problem})"


def _no_task(registry: RegistryRule, task: str) -> Misconfigured:
    problem = f"there is no task {task} in {registry.login_server}"
    return Misconfigured(problem, cause=Cause.TASK, remedy="create it, or correct the rule")


def _decoded(token: str) -> str:
    try:
        return base64.b64decode(token, validate=True).decode()
    except ValueError:  # not set by Basegate
        return token


def _outputs(run: AzureRun) -> Iterator[OutputImage]:
    """The output images of a run. An entry without a digest proves nothing and is left out."""
    for image in run.output_images or []:
        with suppress(Malformed):
            digest = parse_digest(image.digest)
            yield OutputImage(image.registry or "", image.repository or "", image.tag or "", digest)
