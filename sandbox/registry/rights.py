"""Principals and their rights on repositories."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sandbox.web import Fault

ACTIONS = frozenset(("pull", "push", "delete", "metadata_read", "metadata_write", "deleted_read", "deleted_restore"))
CATALOG = "registry:catalog"
DELETED_CATALOG = "registry:deleted_catalog"
CATALOGS = (CATALOG, DELETED_CATALOG)

# https://learn.microsoft.com/azure/container-registry/container-registry-token-based-repository-permissions
_SCOPE_MAP_ACTIONS = {
    "content/read": "pull",
    "content/write": "push",
    "content/delete": "delete",
    "metadata/read": "metadata_read",
    "metadata/write": "metadata_write",
}

SYSTEM_SCOPE_MAPS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "_repositories_admin": (
        "Can perform all read, write and delete operations on the registry",
        tuple(f"repositories/*/{action}" for action in sorted(_SCOPE_MAP_ACTIONS)),
    ),
    "_repositories_pull": ("Can pull any repository of the registry", ("repositories/*/content/read",)),
    "_repositories_pull_metadata_read": (
        "Can pull any repository and read its metadata",
        ("repositories/*/content/read", "repositories/*/metadata/read"),
    ),
    "_repositories_push": (
        "Can push to any repository of the registry",
        ("repositories/*/content/read", "repositories/*/content/write"),
    ),
    "_repositories_push_metadata_write": (
        "Can push to any repository and read and write its metadata",
        tuple(f"repositories/*/{a}" for a in ("content/read", "content/write", "metadata/read", "metadata/write")),
    ),
}


@dataclass(frozen=True, slots=True)
class Rights:
    """Actions by repository; a repository `*` matches all, `samples/*` all that begin with `samples/`."""

    grants: tuple[tuple[str, frozenset[str]], ...]

    def allowed(self, repository: str) -> frozenset[str]:
        """The actions allowed on a repository."""
        found: frozenset[str] = frozenset()
        for pattern, actions in self.grants:
            prefix = pattern[:-1] if pattern.endswith("*") else None
            if pattern == repository or (prefix is not None and repository.startswith(prefix)):
                found |= actions
        return found

    def lists(self, catalog: str) -> bool:
        """Whether one of `CATALOGS` may be read: only with metadata/read on everything (Azure/acr#751)."""
        return any(p == catalog or (p == "*" and "metadata_read" in actions) for p, actions in self.grants)

    def narrowed(self, scopes: Iterable[str]) -> Iterator[dict[str, Any]]:
        """The subset of these rights that the scopes of a token request select, as a token's `access` entries."""
        for scope in scopes:
            kind, _, rest = scope.partition(":")
            name, _, actions = rest.rpartition(":")
            if (catalog := f"{kind}:{name}") in CATALOGS:
                yield {"type": kind, "name": name, "actions": ["*"] if self.lists(catalog) else []}
            elif kind == "repository" and name:
                requested = ACTIONS if actions == "*" else frozenset(actions.split(","))
                yield {"type": kind, "name": name, "actions": sorted(requested & self.allowed(name))}

    @classmethod
    def of_access(cls, access: Iterable[Mapping[str, Any]]) -> Rights:
        """The rights in a token's `access` entries."""
        grants = []
        for entry in access:
            if entry["actions"]:
                name = entry["name"] if entry["type"] == "repository" else f"{entry['type']}:{entry['name']}"
                grants.append((name, frozenset(entry["actions"])))
        return cls(tuple(grants))

    @classmethod
    def of_repositories(cls, repositories: Mapping[str, Sequence[str]] | None) -> Rights:
        """Rights from actions by repository name; None grants everything."""
        if repositories is None:
            return EVERYTHING
        return cls(tuple((name, frozenset(actions)) for name, actions in repositories.items()))

    @classmethod
    def of_scope_map(cls, actions: Iterable[str]) -> Rights:
        """The rights that a scope map's actions grant.

        Raises:
            Fault: 400 that names the invalid action.
        """
        return cls(tuple(map(_scope_map_grant, actions)))


def _scope_map_grant(action: str) -> tuple[str, frozenset[str]]:
    kind, _, rest = action.partition("/")
    repository, _, verb = rest.rpartition("/")
    repository, _, noun = repository.rpartition("/")
    known = _SCOPE_MAP_ACTIONS.get(f"{noun}/{verb}".lower())
    if kind.lower() != "repositories" or not repository or known is None:
        valid = ", ".join(sorted(_SCOPE_MAP_ACTIONS))
        message = f"The action '{action}' is invalid. Actions are repositories/<repository>/<one of {valid}>."
        raise Fault(400, "InvalidScopeMapAction", message)
    return repository, frozenset((known,))


EVERYTHING = Rights((("*", ACTIONS),))
ANONYMOUS_PULL = Rights((("*", frozenset(("pull", "metadata_read"))),))


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller as identified by a registry. `subject` identifies it in its refresh tokens."""

    name: str
    rights: Rights
    subject: str
