"""The operations of operators, each as a plan that a dry run shows."""
