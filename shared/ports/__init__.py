"""What the workflows need of the world. One protocol a need; `adapters` fulfil them, tests bring fakes.

Every method may raise `Retry` (a passing fault) or `Misconfigured` (a role, name or secret is wrong);
what else it raises is said beside it. Names of registries are those of the rules.
"""

from shared.ports.containers import ContainerRunner, GroupState, Probe
from shared.ports.ledger import EVERYTHING, Change, Keyed, Ledger, Listed, Only, Page, QueueState, R, Stored, WorkQueue
from shared.ports.registry import CopyState, CopyStatus, Registry, TagPush
from shared.ports.surroundings import Announcer, Archive, Clock, Outcome, Secrets, Subscriptions
from shared.ports.tags import Allowance, TagReader
from shared.ports.tasks import OutputImage, Run, RunStatus, TaskRunner

__all__ = [
    "EVERYTHING",
    "Allowance",
    "Announcer",
    "Archive",
    "Change",
    "Clock",
    "ContainerRunner",
    "CopyState",
    "CopyStatus",
    "GroupState",
    "Keyed",
    "Ledger",
    "Listed",
    "Only",
    "Outcome",
    "OutputImage",
    "Page",
    "Probe",
    "QueueState",
    "R",
    "Registry",
    "Run",
    "RunStatus",
    "Secrets",
    "Stored",
    "Subscriptions",
    "TagPush",
    "TagReader",
    "TaskRunner",
    "WorkQueue",
]
