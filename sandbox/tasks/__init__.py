"""ACR Tasks: task files, what starts them, and the runs that carry them out."""

from sandbox.tasks.runner.runner import Runner
from sandbox.tasks.service import Services, Tasks

__all__ = ["Runner", "Services", "Tasks"]
