"""Deciding, without touching anything: types and pure functions."""
