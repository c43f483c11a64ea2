"""Hostile input: functions that parse external input must return a result, or raise their own errors.

Each target of `targets.py` is a Hypothesis test. `make test` runs it on generated input and on the corpus; `make fuzz`
runs it with atheris, guided by coverage, for a given time, and adds inputs that reached new code to the corpus.
"""
