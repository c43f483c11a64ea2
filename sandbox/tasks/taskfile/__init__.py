"""Task files: from the text of `acr-task.yaml` to valid steps."""
