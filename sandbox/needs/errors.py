"""Errors of the installation of dependencies."""


class NeedError(Exception):
    """A dependency is missing and cannot be installed here; the text gives the cause and the remedy."""
