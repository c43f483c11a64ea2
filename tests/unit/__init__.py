"""Pure logic and workflows, on fakes."""
