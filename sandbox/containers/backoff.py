"""The restart back-off of a group's containers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Times in seconds.

    A container that ends is started again at once, then after 10, 20, 40 … up to 300 s; one that ran for
    `healthy` starts over, as the kubelet under Azure Container Instances does it.
    Source: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-policy
    """

    poll: float = 1.0
    first: float = 10.0
    longest: float = 300.0
    healthy: float = 600.0

    def scaled(self, time_scale: float) -> Backoff:
        """The same with its waits divided; the poll interval stays."""
        return Backoff(self.poll, self.first / time_scale, self.longest / time_scale, self.healthy / time_scale)

    def delay(self, failures: int) -> float:
        """How long to wait before the start that follows the `failures`-th end in a row."""
        if failures <= 1:
            return 0.0
        return float(min(self.longest, self.first * 2 ** (failures - 2)))
