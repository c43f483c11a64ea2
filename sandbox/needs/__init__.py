"""The sandbox's dependencies on this machine: detected, and installed where possible."""

from sandbox.needs.errors import NeedError
from sandbox.needs.install import ensure
from sandbox.needs.machine import Machine
from sandbox.needs.wanted import NEEDS, Need, missing

__all__ = ["NEEDS", "Machine", "Need", "NeedError", "ensure", "missing"]
