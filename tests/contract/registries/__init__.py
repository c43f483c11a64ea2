"""Registries to read from: a real one, one that speaks as Docker Hub does, and ones that mean no good."""
