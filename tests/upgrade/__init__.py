"""Two versions of the app side by side, on one ledger and its queues."""
