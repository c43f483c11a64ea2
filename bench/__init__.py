"""Benchmarks of the event path, the sandbox's gateway and the workflow, each beside the cost that it avoids."""
