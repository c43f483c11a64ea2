"""What the event path, the sandbox's gateway and the workflow cost, side by side with what they avoid."""
