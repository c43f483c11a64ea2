"""Random stories on fakes: whatever happens in whatever order, the invariants hold."""
