"""Copies a passed digest into the target repository, locks it, and moves the stable tag."""
