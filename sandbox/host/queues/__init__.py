"""Storage queues: the service, the trigger, the output binding, and what is in a message."""
