"""The ways to examine a candidate, one module each."""
