"""Reads task files: from the text of `acr-task.yaml` to validated steps."""
