"""The restart back-off of a group's containers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Restart delays, in seconds.

    A container that exits is restarted immediately, then after 10, 20, 40 … up to 300 s; after it has run for
    `healthy`, the sequence starts over, as in the kubelet under Azure Container Instances.
    Source: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-policy
    """

    poll: float = 1.0
    first: float = 10.0
    longest: float = 300.0
    healthy: float = 600.0

    def scaled(self, time_scale: float) -> Backoff:
        """Return a copy with its delays divided; the poll interval is unchanged."""
        return Backoff(self.poll, self.first / time_scale, self.longest / time_scale, self.healthy / time_scale)

    def delay(self, failures: int) -> float:
        """Seconds to wait before the restart that follows the `failures`-th consecutive exit."""
        if failures <= 1:
            return 0.0
        return float(min(self.longest, self.first * 2 ** (failures - 2)))
