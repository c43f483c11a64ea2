"""Who may see a registry's credentials: its own host, and token services that are surely its owner's.

The list of public suffixes is no part of Python and changes weekly, so the rule is stricter than the truth. A realm
belongs to a registry if it is

1. at the registry's own host, or
2. a companion known by name, or
3. under the same domain, where the domain is the host's last two labels, the last three under a country's suffix with
   second-level names (`example.co.uk`), and never one under which strangers are given names (`azurecr.io`).
"""

from __future__ import annotations

_COMPANIONS = {"registry-1.docker.io": frozenset(("auth.docker.io",))}
_SECOND_LEVEL_LENGTH = 3
_GIVEN_TO_STRANGERS = (
    "amazonaws.com", "amazonaws.com.cn", "appspot.com", "azure.com", "azure.net", "azurecontainerapps.io",
    "azurecr.cn", "azurecr.io", "azurecr.us", "azurefd.net", "azurewebsites.net", "cloudapp.net", "cloudfront.net",
    "digitaloceanspaces.com", "fly.dev", "github.io", "gitlab.io", "herokuapp.com", "jfrog.io", "netlify.app",
    "ngrok.app", "ngrok.io", "ocir.io", "ondigitalocean.app", "pages.dev", "pkg.dev", "run.app", "trafficmanager.net",
    "vercel.app", "web.app", "windows.net", "workers.dev",
)  # fmt: skip


def belongs(realm: str, registry: str) -> bool:
    """Whether a realm's host may see the credentials of a registry's host; both in lower case, without a port."""
    if realm == registry or realm in _COMPANIONS.get(registry, ()):
        return True
    domain = _domain(registry)
    return domain != "" and domain == _domain(realm)


def _domain(host: str) -> str:
    """The domain whose owner has the host, "" where that cannot be said for sure."""
    if ":" in host or host.replace(".", "").isdecimal():
        return ""
    if any(host == suffix or host.endswith(f".{suffix}") for suffix in _GIVEN_TO_STRANGERS):
        return ""
    labels = host.split(".")
    if len(labels) < 2:
        return ""
    country = len(labels[-1]) == 2 and len(labels[-2]) <= _SECOND_LEVEL_LENGTH
    depth = 3 if country else 2
    return ".".join(labels[-depth:]) if len(labels) >= depth else ""
