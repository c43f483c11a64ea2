"""Orchestrating: gather what a decision needs, take the step it names, record what came of it."""
