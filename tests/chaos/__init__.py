"""The running scenario under SIGKILL: `python -m tests.chaos --kills 200 --seed 1`.

A real sandbox with the app in it; images are pushed upstream while its processes are killed, one after the other.
Verdicts, the digests of the stable tags and the listener's outcomes are read from outside, and judged at the end.
"""
