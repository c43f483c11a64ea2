"""What Azure allows a registry of each SKU. Webhooks and replications are held to it; the other limits are only shown.

Source: https://learn.microsoft.com/azure/container-registry/container-registry-skus and
https://learn.microsoft.com/powershell/module/az.containerregistry/get-azcontainerregistryusage
"""

from __future__ import annotations

from dataclasses import dataclass

from sandbox.registry.records import RegistryRecord
from sandbox.web import Fault

_GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a SKU: bytes, and counts; -1 is none."""

    size: int
    webhooks: int
    replications: int
    rules: int
    tokens: int


LIMITS = {
    "Basic": Limits(10 * _GIB, 2, 0, 0, 100),
    "Standard": Limits(100 * _GIB, 10, 0, 0, 500),
    "Premium": Limits(500 * _GIB, 500, -1, 100, 50_000),
}


def check_quota(record: RegistryRecord, *, webhooks: int, replications: int) -> None:
    """Refuse what a registry's SKU does not allow: a webhook too many, or a SKU too small for what there is.

    The words are Azure's (https://github.com/microsoft/vscode-docker/issues/1281). What Azure answers to a smaller SKU
    while there are replications is not documented; it has no replications without Premium.

    Raises:
        Fault: 403 QuotaExceeded that names the kind of resource.
    """
    limits = LIMITS[record.sku]
    for kind, most, count in (
        ("webhooks", limits.webhooks, webhooks),
        ("replications", limits.replications, replications),
    ):
        if 0 <= most < count:
            message = f"Quota exceeded for resource type {kind} for the registry SKU {record.sku}: {count} of {most}."
            raise Fault(403, "QuotaExceeded", f"{message} Delete {kind}, or choose a higher SKU.")
