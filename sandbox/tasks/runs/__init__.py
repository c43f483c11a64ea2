"""Queues, prepares, executes, logs and stores runs."""
