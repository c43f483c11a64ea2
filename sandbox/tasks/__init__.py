"""ACR Tasks: task files, their triggers, and the runs that execute them."""

from sandbox.tasks.runner.runner import Runner
from sandbox.tasks.service import Services, Tasks

__all__ = ["Runner", "Services", "Tasks"]
