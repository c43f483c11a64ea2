"""Translating: from a trigger's binding to one call of a workflow and back."""
