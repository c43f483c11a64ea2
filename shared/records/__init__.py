"""Saving a record with what it causes: the outcomes to announce, the alarms."""
