"""Whether a digest is signed: cosign (by a key, or keyless) and Notation, from bytes and pinned trust alone. Pure.

Nothing here reads a registry, a vault or the clock. The libraries for it are imported on first use, by `verify`.
"""
