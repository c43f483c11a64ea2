"""The running scenario under SIGKILL: `python -m tests.chaos --kills 200 --seed 1`.

A real sandbox with the app in it; images are pushed upstream while its processes are killed, one after the other. What
is examined, where the stable tags stand and what the listener hears is read from outside, and judged at the end.
"""
