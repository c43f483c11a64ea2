"""Hostile input: what comes from outside is taken apart by functions that must answer, or refuse in their own words.

Each target of `targets.py` is a Hypothesis test. `make test` runs it on made-up input and on the corpus; `make fuzz`
has atheris drive it by coverage, for as long as it is let, and keeps in the corpus what reached new code.
"""
