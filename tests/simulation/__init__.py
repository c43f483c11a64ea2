"""Simulated schedules: several workers, every kind of fault, and a judge that records what really happened.

    python -m tests.simulation 2000        many schedules, on all cores
    python -m tests.simulation --seed 17   one of them again, with its log

One seed is one schedule (`schedule.py`). Workers and operators are greenlets that may be switched, paused or killed at
every outside call (`scheduler.py`, `calls.py`); the external services are fakes with the true state (`outside.py`);
the judge has its own record, and checks the invariants at every effect (`judge.py`) and, once faults have stopped,
in the final state (`ends.py`).
"""
