"""Triggers and HTTP: from a binding to one call of the app, and back."""
