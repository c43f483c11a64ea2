"""The Azure Resource Manager API of ACR Tasks: tasks and runs as resources."""
