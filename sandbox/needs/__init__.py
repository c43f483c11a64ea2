"""What the sandbox needs on this machine: looked for, and installed where that can be done."""

from sandbox.needs.errors import NeedError
from sandbox.needs.install import ensure
from sandbox.needs.machine import Machine
from sandbox.needs.wanted import NEEDS, Need, missing

__all__ = ["NEEDS", "Machine", "Need", "NeedError", "ensure", "missing"]
