"""How long the adapters wait for Azure: every client of an SDK is made with this.

A call that is not answered is tried once more, and is over within a minute: each of the two tries may take 5 s to
connect and 20 s to answer. What is answered is not tried again here, not even where the answer is to slow down:
`Retry-After` may say minutes, and nothing sleeps inside a function. Whoever asked knows when to ask again.
Source: https://github.com/Azure/azure-sdk-for-python/blob/main/sdk/core/azure-core/CLIENT_LIBRARY_DEVELOPER.md
"""

from typing import Any

DEADLINES: dict[str, Any] = {"connection_timeout": 5, "read_timeout": 20, "retry_total": 1, "retry_status": 0}

STORAGE_DEADLINES = DEADLINES | {"initial_backoff": 1, "random_jitter_range": 0}
"""For queues and blobs, whose clients else wait for a quarter of a minute between two tries."""

TOKEN_DEADLINES = DEADLINES | {"retry_total": 0}
"""For the app's identity, which is asked within a call: queues and blobs ask twice where it gives no token."""
