"""The app's settings: a frozen class, read from the environment once; all errors are reported together."""

import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, get_args
from urllib.parse import urlsplit

from shared.domain.errors import Misconfigured

WORK_QUEUE = "basegate-work"
"""The queue of work items. A constant, because the trigger's binding and the ARM templates name it too."""

HINT_QUEUE = "basegate-hints"
"""The queue of hints, separate from the work items: a flood of events must not delay records."""

POISON = "-poison"
"""The suffix of the Functions host's poison queues.
Source: https://learn.microsoft.com/azure/azure-functions/functions-bindings-storage-queue-trigger#poison-messages"""

TABLE = "basegate"
EVIDENCE_CONTAINER = "basegate-evidence"

SWEEP_SCHEDULE = "0 */5 * * * *"
"""The default: every five minutes."""

_KEY_URL = re.compile(r"https://[A-Za-z0-9.-]+/keys/[0-9A-Za-z-]{1,127}(?:/[0-9a-f]{32})?")

APP_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings. Only `listeners` contains secrets, and is never shown."""

    storage_account: str
    """The app's own storage account (`AzureWebJobsStorage__accountName`): ledger, queue and evidence."""

    key_vault: str = ""
    """URL of the Key Vault with the registries' credentials (`BASEGATE_KEY_VAULT`); "" if no rule names any."""

    signing_key: str = ""
    """URL of the Key Vault key that signs decision records (`BASEGATE_SIGNING_KEY`), an EC key over P-256; "" if none
    are attached."""

    gates: str = "gates.yaml"
    """The rules, a path from the app's root (`BASEGATE_GATES`)."""

    listeners: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The variables of the listeners that outcomes are sent to, if set (`shared/adapters/listeners`). The URL of a
    chat's webhook is a secret: set it as a Key Vault reference, which App Service resolves."""

    public_url: str = ""
    """The public URL of this app (`BASEGATE_PUBLIC_URL`), without a trailing slash, for the links in outcomes. The
    default in App Service is the site's own host name; "" creates no links."""

    site: str = ""
    """The app's name in Azure, which App Service sets (`WEBSITE_SITE_NAME`): events must reach it, not another app."""

    sweep_schedule: str = SWEEP_SCHEDULE
    """When the sweep runs (`BASEGATE_SWEEP_SCHEDULE`), an NCRONTAB expression: second, minute, hour, day, month,
    weekday in UTC."""

    keep_days: int = 400
    """How many days unused records are kept, and undelivered outcomes retried; those for at least seven
    (`BASEGATE_KEEP_DAYS`)."""

    storage_suffix: str = "core.windows.net"
    """Domain of storage endpoints (`BASEGATE_STORAGE_SUFFIX`), for clouds other than the public one."""

    telemetry: Literal["off", "azure", "otlp"] = "off"
    """The destination of OpenTelemetry (`BASEGATE_TELEMETRY`): Application Insights, an OTLP endpoint, or none."""

    sign_in: Literal["keys", "easy-auth"] = "keys"
    """Who may use the HTTP interface (`BASEGATE_SIGN_IN`): holders of a function key, or persons whom App Service
    Authentication has signed in. The second trusts headers that only App Service may set: use it there only."""


_NAMES = {one.name: f"BASEGATE_{one.name.upper()}" for one in fields(Settings) if one.name not in ("listeners", "site")}
_NAMES["storage_account"] = "AzureWebJobsStorage__accountName"


class PlugIn(Protocol):
    """A plug-in with settings of its own."""

    settings: ClassVar[tuple[str, ...]]
    """The environment variables that it reads."""

    @staticmethod
    def faults(values: Mapping[str, str]) -> Iterator[str]:
        """The errors in the values that are set, each with its variable and without a secret."""


def setting_names(plug_ins: Collection[type[PlugIn]] = ()) -> tuple[str, ...]:
    """The environment variables that settings are read from."""
    return *_NAMES.values(), *(name for one in plug_ins for name in one.settings)


def read_settings(environment: Mapping[str, str] = os.environ, plug_ins: Collection[type[PlugIn]] = ()) -> Settings:
    """The settings in an environment (this process's by default), including those of plug-ins.

    Raises:
        Misconfigured: names every variable that is missing or invalid, and what it must be.
    """
    present = {name: value.strip() for name, value in environment.items() if value.strip()}
    values: dict[str, Any] = {key: present[name] for key, name in _NAMES.items() if name in present}
    listeners = {name: present[name] for one in plug_ins for name in one.settings if name in present}
    url = values.get("public_url", _own_url(environment))
    faults = [*_faults(present, url), *(fault for one in plug_ins for fault in one.faults(listeners))]
    if faults:
        raise Misconfigured("the app's settings are invalid:\n" + "\n".join(f"  {fault}" for fault in faults))
    values["public_url"], values["site"] = url.rstrip("/"), environment.get("WEBSITE_SITE_NAME", "").strip()
    values["keep_days"] = int(values.get("keep_days", Settings.keep_days))
    return Settings(**values, listeners=listeners)


def platform_signs_in() -> bool:
    """Whether App Service Authentication is required; read when functions are indexed."""
    return os.environ.get(_NAMES["sign_in"], "").strip() == "easy-auth"


def is_behind_sign_in() -> bool:
    """Whether App Service Authentication is on, by the platform's own variable: if it is off, anybody can send its
    headers.

    Source: `IsEasyAuthEnabled` of the Functions host, https://github.com/Azure/azure-functions-host/blob/dev/src/WebJobs.Script/Environment/EnvironmentExtensions.cs
    """
    return os.environ.get("WEBSITE_AUTH_ENABLED", "").strip().lower() == "true"


def sweep_schedule() -> str:
    """The schedule of the sweep; read when functions are indexed."""
    return os.environ.get(_NAMES["sweep_schedule"], "").strip() or SWEEP_SCHEDULE


def _own_url(environment: Mapping[str, str]) -> str:
    """The URL of the site's host name in App Service; "" locally, where it is `localhost:7071`.

    Source: https://learn.microsoft.com/azure/app-service/reference-app-settings
    """
    host = environment.get("WEBSITE_HOSTNAME", "").strip()
    return f"https://{host}" if host and ":" not in host else ""


def _faults(present: Mapping[str, str], public_url: str) -> Iterator[str]:
    if _NAMES["storage_account"] not in present:
        yield f"{_NAMES['storage_account']} is missing: the name of the app's storage account"
    yield from url_faults(_NAMES["key_vault"], present)
    key = _NAMES["signing_key"]
    if not _KEY_URL.fullmatch(present.get(key, "https://none/keys/none")):
        yield _fault(key, present, "the URL of a key, https://<vault>.vault.azure.net/keys/<name>")
    if not _is_plain_url(public_url or "https://none"):  # not shown: it may contain a key
        yield f"{_NAMES['public_url']} must be https://<host>, without user, query or fragment"
    for key in ("telemetry", "sign_in"):
        yield from choice_faults(_NAMES[key], present, get_args(Settings.__annotations__[key]))
    schedule, days = _NAMES["sweep_schedule"], _NAMES["keep_days"]
    if len(present.get(schedule, SWEEP_SCHEDULE).split()) != 6:
        yield _fault(schedule, present, f"six fields, e.g. {SWEEP_SCHEDULE}")
    if not re.fullmatch("[1-9][0-9]{0,3}", present.get(days, "1")):
        yield _fault(days, present, "a number of days, 1 to 9999")


def url_faults(name: str, values: Mapping[str, str]) -> Iterator[str]:
    """The error of a variable that is not an https URL."""
    if not values.get(name, "https://").startswith("https://"):
        yield _fault(name, values, "an https URL")


def choice_faults(name: str, values: Mapping[str, str], choices: tuple[str, ...]) -> Iterator[str]:
    """The error of a variable that has none of its possible values."""
    if values.get(name, choices[0]) not in choices:
        yield _fault(name, values, f"{', '.join(choices[:-1])} or {choices[-1]}")


def _fault(name: str, values: Mapping[str, str], wanted: str) -> str:
    """The error of an invalid value, which is truncated where a key could begin, if it is a connection string."""
    return f"{name} is {re.split('[=?;@]', values[name])[0][:60]!r}: it must be {wanted}"


def _is_plain_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    plain = url.isascii() and url.isprintable() and not set(url) & set(" \"'<>\\|@?#")
    return plain and parts.scheme == "https" and bool(parts.hostname)
