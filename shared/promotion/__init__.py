"""Copying a passed digest into the target repository, locking it, and moving the stable tag."""
