"""Simulated schedules: several workers, every kind of fault, and a judge that knows what really happened.

    python -m tests.simulation 2000        many schedules, on all cores
    python -m tests.simulation --seed 17   one of them again, with its story

One seed is one schedule (`schedule.py`). Workers and operators are greenlets that may be switched, paused or killed at
every outside call (`scheduler.py`, `calls.py`); the services outside are fakes that tell the truth (`outside.py`);
the judge keeps a record of its own and holds the invariants against every effect (`judge.py`), and once the world has
calmed down, against what is left (`ends.py`).
"""
