"""The process that imports the app and runs its functions. Standard library and `azure.functions` only."""
