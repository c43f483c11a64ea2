"""Storage queues: the service, the trigger, the output binding, and the content of messages."""
