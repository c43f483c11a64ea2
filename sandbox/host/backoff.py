"""How long a queue listener waits between looks at an empty queue.

Source: RandomizedExponentialBackoffStrategy and QueueListener of the WebJobs SDK
(https://github.com/Azure/azure-sdk-for-net, sdk/storage/Microsoft.Azure.WebJobs.Extensions.Storage.Queues).
"""

from __future__ import annotations

import random

_MINIMUM_SECONDS = 0.1


class RandomizedBackoff:
    """Grows from 100 ms to `maximum_seconds`, doubling with up to 20 % of chance; starts anew after work was found."""

    def __init__(self, maximum_seconds: float) -> None:
        self._maximum = max(maximum_seconds, _MINIMUM_SECONDS)
        self._failures = 0

    def reset(self) -> None:
        """Work was found."""
        self._failures = 0

    def next_seconds(self) -> float:
        """The wait after one more look that found nothing."""
        delay = _MINIMUM_SECONDS
        if self._failures:
            chance = random.uniform(0.8, 1.2)  # noqa: S311 (spreads polls, keeps no secret)
            delay += _MINIMUM_SECONDS * chance * 2.0 ** min(self._failures - 1, 30)
        if delay >= self._maximum:
            return self._maximum
        self._failures += 1
        return delay
