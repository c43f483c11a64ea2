"""The jobs of a sweep, one file for each topic. A further job is one more file, and an entry in `JOBS`."""

from shared.sweep.job import SweepJob
from shared.sweep.jobs.app import AppJob
from shared.sweep.jobs.lost_work import (
    AppOverdueJob,
    GateOverdueJob,
    ListenersOverdueJob,
    OrphansJob,
    OutboxJob,
    StallAlarmsJob,
)
from shared.sweep.jobs.purge import AppPurgeJob, CommonPurgeJob, GatePurgeJob
from shared.sweep.jobs.released import ReleasedJob
from shared.sweep.jobs.silence import GateSilenceJob, RegistrySilenceJob
from shared.sweep.jobs.stable_tags import StableTagsJob
from shared.sweep.jobs.upstream import UpstreamJob

JOBS: tuple[type[SweepJob], ...] = (
    UpstreamJob,
    StableTagsJob,
    GateOverdueJob,
    OrphansJob,
    ReleasedJob,
    GateSilenceJob,
    AppJob,
    AppOverdueJob,
    RegistrySilenceJob,
    OutboxJob,
    ListenersOverdueJob,
    StallAlarmsJob,
    GatePurgeJob,
    AppPurgeJob,
    CommonPurgeJob,
)
"""The order of a sweep. Neighbors with the same `each` stay together: all jobs of one gate, then all of the next."""
