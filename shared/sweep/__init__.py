"""The sweep: resumable jobs that compare the world with the ledger, and repair what differs."""
