"""Types and pure functions: every decision of Basegate, without I/O."""
