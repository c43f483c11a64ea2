"""What the HTTP functions have in common: answers, who asks, and the interface's description."""
