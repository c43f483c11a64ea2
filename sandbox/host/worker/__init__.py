"""The process that imports the app and runs its functions. Uses only the standard library and `azure.functions`."""
