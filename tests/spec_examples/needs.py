"""What some examples need besides the resources that they name: a run, a secret in a certain state, an image."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from typing import Any

from demo import scenario
from tests.spec_examples.client import ARM, Client
from tests.spec_examples.world import World

Values = dict[str, Any]

_REGISTRIES = "2023-07-01"
_TASKS, _SECRETS = "2019-06-01-preview", "7.5"
_WAITING_TASK = base64.b64encode(b"steps:\n- cmd: docker.io/library/node:15-alpine sleep 60\n").decode()


class Needs:
    """Brings about what an operation takes for granted, and changes the values that only the service can choose."""

    def __init__(self, world: World, client: Client) -> None:
        self._world, self._client = world, client
        self._of: Mapping[str, Callable[[Values], Values]] = {
            "Registries_ImportImage": self._image,
            "Registries_Update": self._registry_alone,
            "Runs": self._run,
            "GetSecret": self._version_of_secret,
            "UpdateSecret": self._version_of_secret,
            "GetDeletedSecret": self._deleted_secret,
            "PurgeDeletedSecret": self._deleted_secret,
            "RecoverDeletedSecret": self._deleted_secret,
            "DeleteSecret": self._secret,
            "BackupSecret": self._secret,
            "GetSecretVersions": self._secret,
            "RestoreSecret": self._backup,
        }

    def bring_about(self, operation: str, values: Values) -> Values:
        """The values, after what the operation needs is there."""
        if "vaultBaseUrl" in values:
            name = values["vaultBaseUrl"].removeprefix("https://").partition(".")[0]
            vaults = f"{scenario.group_id('vaults')}/providers/Microsoft.KeyVault/vaults"
            self._world.prepare("GET", f"{vaults}/{name}", None)
        need = self._of.get(operation) or self._of.get(operation.partition("_")[0])
        return need(values) if need else values

    def _image(self, values: Values) -> Values:
        """The image of an import: that of Docker Hub's stand-in, copied to the registry that the example names."""
        source = values["parameters"]["source"]
        registry = source.get("resourceId", "")
        if not registry:
            return values
        self._world.prepare("GET", registry, None)
        repository, target = re.split("[:@]", source["sourceImage"])[0], "source-repository:sourceTag"
        hub = {"registryUri": "docker.io", "sourceImage": "library/node:15-alpine"}
        request = {"source": hub, "targetTags": [target], "mode": "Force"}
        self._client.send("POST", f"{ARM}{registry}/importImage?api-version={_REGISTRIES}", request)
        if "@" in source["sourceImage"]:
            digest = self._world.digest(registry.rpartition("/")[2], repository, "sourceTag")
            values["parameters"]["source"]["sourceImage"] = f"{repository}@{digest}"
        return values

    def _registry_alone(self, values: Values) -> Values:
        """A registry without replications: it is updated to a SKU that has none."""
        self._world.forget(_registry(values))
        return values

    def _run(self, values: Values) -> Values:
        registry = _registry(values)
        self._world.prepare("GET", registry, None)
        request = {"type": "EncodedTaskRunRequest", "encodedTaskContent": _WAITING_TASK, "platform": {"os": "Linux"}}
        started = self._client.send("POST", f"{ARM}{registry}/scheduleRun?api-version={_TASKS}", request)
        return values | {"runId": started.answered["properties"]["runId"]}

    def _secret(self, values: Values) -> Values:
        self._vault(values, "DELETE", f"deletedsecrets/{values['secret-name']}")
        self._vault(values, "PUT", f"secrets/{values['secret-name']}", {"value": "a value"})
        return values

    def _version_of_secret(self, values: Values) -> Values:
        secret = self._vault(values, "PUT", f"secrets/{values['secret-name']}", {"value": "a value"})
        return values | {"secret-version": secret["id"].rpartition("/")[2]}

    def _deleted_secret(self, values: Values) -> Values:
        self._secret(values)
        self._vault(values, "DELETE", f"secrets/{values['secret-name']}")
        return values

    def _backup(self, values: Values) -> Values:
        named = values | {"secret-name": "restored"}
        self._secret(named)
        backup = self._vault(named, "POST", "secrets/restored/backup")
        self._deleted_secret(named)
        self._vault(named, "DELETE", "deletedsecrets/restored")
        return values | {"parameters": {"value": backup["value"]}}

    def _vault(self, values: Values, method: str, path: str, body: object = None) -> Any:
        url = f"{values['vaultBaseUrl'].rstrip('/')}/{path}?api-version={_SECRETS}"
        return self._client.send(method, url, body).answered


def _registry(values: Values) -> str:
    """The id of the registry that an example names."""
    group = scenario.group_id(values["resourceGroupName"])
    return f"{group}/providers/Microsoft.ContainerRegistry/registries/{values['registryName']}"
