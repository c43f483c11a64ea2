"""The gate itself: what it decides, how it orchestrates, and the adapters that touch Azure."""

VERSION = "0.1.0"
"""The version of the app, and of the command line."""
