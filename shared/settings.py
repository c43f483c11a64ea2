"""The app's settings: one frozen class, read from the environment once, every fault reported together."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from shared.domain.errors import Misconfigured

WORK_QUEUE = "basegate-work"
"""The queue of work items. A constant, because the trigger's binding and the ARM templates name it too."""

HINT_QUEUE = "basegate-hints"
"""The queue of hints, apart from the work items: a flood of events must not keep records from going on."""

POISON = "-poison"
"""What the Functions host adds to a queue's name for the messages that it gave up on.
Source: https://learn.microsoft.com/azure/azure-functions/functions-bindings-storage-queue-trigger#poison-messages"""

TABLE = "basegate"
EVIDENCE_CONTAINER = "basegate-evidence"

SWEEP_SCHEDULE = "0 */5 * * * *"
"""Every five minutes, if nothing else is set."""

APP_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, kw_only=True, repr=False)
class Settings:
    """How this app runs. Nothing in here is a secret but `webhook_url`, which is never shown."""

    storage_account: str
    """The app's own storage account (`AzureWebJobsStorage__accountName`): ledger, queue and evidence."""

    key_vault: str = ""
    """URL of the Key Vault with the registries' credentials (`BASEGATE_KEY_VAULT`); "" where no rule names any."""

    gates: str = "gates.yaml"
    """The rules, a path from the app's root (`BASEGATE_GATES`)."""

    announce_topic: str = ""
    """Endpoint of the Event Grid custom topic that outcomes are told to (`BASEGATE_ANNOUNCE_TOPIC`); "" tells none."""

    webhook_url: str = ""
    """A webhook that hears the outcomes too (`BASEGATE_WEBHOOK_URL`). The URL of a chat's webhook is a secret: give it
    as a Key Vault reference, which App Service resolves."""

    webhook_style: Literal["generic", "slack", "teams"] = "generic"
    """The shape of what is posted there (`BASEGATE_WEBHOOK_STYLE`)."""

    webhook_secret: str = ""
    """Name of the Key Vault secret that signs generic posts (`BASEGATE_WEBHOOK_SECRET`); "" signs none."""

    public_url: str = ""
    """Where people reach this app (`BASEGATE_PUBLIC_URL`), without a slash at its end; outcomes link to its pages.
    In App Service it is the site's own name unless something else stands in front; "" makes no links."""

    site: str = ""
    """The app's name in Azure, which App Service sets (`WEBSITE_SITE_NAME`): events must reach it, not another app."""

    sweep_schedule: str = SWEEP_SCHEDULE
    """When the sweep runs (`BASEGATE_SWEEP_SCHEDULE`), an NCRONTAB expression: second, minute, hour, day, month,
    weekday in UTC."""

    keep_days: int = 400
    """For how many days the ledger keeps what nothing stands on any more (`BASEGATE_KEEP_DAYS`), and an outcome that
    nobody hears is sent again: a week at least."""

    storage_suffix: str = "core.windows.net"
    """Domain of storage endpoints (`BASEGATE_STORAGE_SUFFIX`), for clouds other than the public one."""

    telemetry: Literal["off", "azure", "otlp"] = "off"
    """Where OpenTelemetry sends to (`BASEGATE_TELEMETRY`): Application Insights, an OTLP endpoint, or nowhere."""

    sign_in: Literal["keys", "easy-auth"] = "keys"
    """Who may use the HTTP interface (`BASEGATE_SIGN_IN`): holders of a function key, or persons whom App Service
    Authentication has signed in. The second trusts headers that only App Service may set: switch it on there only."""

    def __repr__(self) -> str:
        """The settings without what is secret: a log or a traceback may show them."""
        shown = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "webhook_url"}
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


_NAMES = {
    "storage_account": "AzureWebJobsStorage__accountName",
    "key_vault": "BASEGATE_KEY_VAULT",
    "gates": "BASEGATE_GATES",
    "announce_topic": "BASEGATE_ANNOUNCE_TOPIC",
    "webhook_url": "BASEGATE_WEBHOOK_URL",
    "webhook_style": "BASEGATE_WEBHOOK_STYLE",
    "webhook_secret": "BASEGATE_WEBHOOK_SECRET",
    "public_url": "BASEGATE_PUBLIC_URL",
    "sweep_schedule": "BASEGATE_SWEEP_SCHEDULE",
    "keep_days": "BASEGATE_KEEP_DAYS",
    "storage_suffix": "BASEGATE_STORAGE_SUFFIX",
    "telemetry": "BASEGATE_TELEMETRY",
    "sign_in": "BASEGATE_SIGN_IN",
}


def setting_names() -> tuple[str, ...]:
    """The environment variables that settings are read from."""
    return tuple(_NAMES.values())


def read_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """The settings in an environment (this process's by default).

    Raises:
        Misconfigured: names every variable that is missing or wrong, and what it must be.
    """
    environment = os.environ if environment is None else environment
    values: dict[str, Any] = {
        field: environment[name].strip() for field, name in _NAMES.items() if environment.get(name, "").strip()
    }
    values.setdefault("public_url", _own_url(environment))
    values["site"] = environment.get("WEBSITE_SITE_NAME", "").strip()
    faults = list(_faults(values))
    if faults:
        raise Misconfigured("the app's settings are not right:\n" + "\n".join(f"  {fault}" for fault in faults))
    values["public_url"] = values["public_url"].rstrip("/")
    values["keep_days"] = int(values.get("keep_days", Settings.keep_days))
    return Settings(**values)


def trusts_sign_in(environment: Mapping[str, str] | None = None) -> bool:
    """Whether App Service Authentication stands in front; needed when functions are indexed, before all else."""
    environment = os.environ if environment is None else environment
    return environment.get(_NAMES["sign_in"], "").strip() == "easy-auth"


def is_behind_sign_in(environment: Mapping[str, str] | None = None) -> bool:
    """Whether App Service Authentication is on, by the platform's own word: else anybody may send its headers.

    Source: `IsEasyAuthEnabled` of the Functions host,
    https://github.com/Azure/azure-functions-host/blob/dev/src/WebJobs.Script/Environment/EnvironmentExtensions.cs
    """
    environment = os.environ if environment is None else environment
    return environment.get("WEBSITE_AUTH_ENABLED", "").strip().lower() == "true"


def sweep_schedule(environment: Mapping[str, str] | None = None) -> str:
    """When the sweep runs; needed when functions are indexed, before all else."""
    environment = os.environ if environment is None else environment
    return environment.get(_NAMES["sweep_schedule"], "").strip() or SWEEP_SCHEDULE


_CHOICES = {
    "webhook_style": ("generic", "slack", "teams"),
    "telemetry": ("off", "azure", "otlp"),
    "sign_in": ("keys", "easy-auth"),
}
_NCRONTAB_FIELDS = 6
_UNRESOLVED = "@Microsoft.KeyVault("
_SHOWN_CHARACTERS = 60


def _own_url(environment: Mapping[str, str]) -> str:
    """App Service tells each site its name; the local host says `localhost:7071`, which is of no use to others.

    Source: https://learn.microsoft.com/azure/app-service/reference-app-settings
    """
    host = environment.get("WEBSITE_HOSTNAME", "").strip()
    return f"https://{host}" if host and ":" not in host else ""


def _faults(values: Mapping[str, str]) -> Iterator[str]:
    if "storage_account" not in values:
        yield f"{_NAMES['storage_account']} is missing: the name of the app's storage account"
    for field in ("key_vault", "announce_topic"):
        if not values.get(field, "https://").startswith("https://"):
            yield f"{_NAMES[field]} is {_shown(values[field])}: it must be an https URL"
    if not _is_plain_url(values["public_url"] or "https://none"):  # not shown: people paste addresses with keys
        yield f"{_NAMES['public_url']} must be https://<host>, without user, query or fragment"
    for field, choices in _CHOICES.items():
        if values.get(field, choices[0]) not in choices:
            known = f"{', '.join(choices[:-1])} or {choices[-1]}"
            yield f"{_NAMES[field]} is {_shown(values[field])}: it must be {known}"
    yield from _time_faults(values)
    yield from _webhook_faults(values.get("webhook_url", "https://"))


def _time_faults(values: Mapping[str, str]) -> Iterator[str]:
    if len(values.get("sweep_schedule", SWEEP_SCHEDULE).split()) != _NCRONTAB_FIELDS:
        shown = _shown(values["sweep_schedule"])
        yield f"{_NAMES['sweep_schedule']} is {shown}: it must be six fields, e.g. {SWEEP_SCHEDULE}"
    if not re.fullmatch("[1-9][0-9]{0,3}", values.get("keep_days", "1")):
        yield f"{_NAMES['keep_days']} is {_shown(values['keep_days'])}: it must be a number of days, 1 to 9999"


def _webhook_faults(webhook: str) -> Iterator[str]:
    """The URL of a chat's webhook is a secret: it is not shown."""
    if webhook.startswith(_UNRESOLVED):
        yield f"{_NAMES['webhook_url']} is a Key Vault reference that App Service could not resolve: check its access"
    elif not webhook.startswith("https://"):
        yield f"{_NAMES['webhook_url']} must be an https URL"


def _shown(value: str) -> str:
    """A wrong value as an error may show it: up to where a key could begin, if a connection string was pasted."""
    return repr(re.split(r"[=?;@]", value)[0][:_SHOWN_CHARACTERS])


def _is_plain_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    plain = url.isascii() and url.isprintable() and not set(url) & set(" \"'<>\\|@?#")
    return plain and parts.scheme == "https" and bool(parts.hostname)
