"""ACR Tasks as Azure Resource Manager sees them: tasks and runs as resources."""
