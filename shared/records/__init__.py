"""Saves a record together with what it causes: outcomes to announce, and alarms."""
