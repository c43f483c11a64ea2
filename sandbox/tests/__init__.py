"""The sandbox's tests."""
