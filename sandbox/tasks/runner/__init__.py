"""Executes the steps of a task file on a container engine."""
