"""The jobs of a sweep, one file for each topic. A further job is one more file, and a line in `jobs_of`."""

from collections.abc import Iterator

from shared.domain.outcome import LISTENERS
from shared.ports import Services
from shared.sweep.job import SweepJob
from shared.sweep.jobs.app import AppJob
from shared.sweep.jobs.lost_work import OrphansJob, OutboxJob, OverdueJob, StallAlarmsJob
from shared.sweep.jobs.purge import AppPurgeJob, CommonPurgeJob, GatePurgeJob
from shared.sweep.jobs.referrers import ReferrersJob
from shared.sweep.jobs.released import ReleasedJob
from shared.sweep.jobs.rescan import RescanJob
from shared.sweep.jobs.silence import GateSilenceJob, RegistrySilenceJob
from shared.sweep.jobs.stable_tags import StableTagsJob
from shared.sweep.jobs.upstream import UpstreamJob


def jobs_of(services: Services) -> Iterator[SweepJob]:
    """The jobs of a sweep, in its order: all jobs of one gate, then all of the next, and purges at the end."""
    policy = services.policy
    for gate in policy.gates.values():
        yield UpstreamJob(services, gate)
        yield StableTagsJob(services, gate)
        yield OverdueJob(services, "gate", gate.name)
        yield OrphansJob(services, gate)
        yield ReleasedJob(services, gate)
        yield RescanJob(services, gate)
        yield ReferrersJob(services, gate)
        yield GateSilenceJob(services, gate)
    for app in policy.apps.values():
        yield AppJob(services, app)
        yield OverdueJob(services, "app", app.name)
    for registry in policy.registries.values():
        yield RegistrySilenceJob(services, registry)
    yield OutboxJob(services)
    yield OverdueJob(services, "listener", LISTENERS)
    yield StallAlarmsJob(services)
    for gate in policy.gates.values():
        yield GatePurgeJob(services, gate)
    for app in policy.apps.values():
        yield AppPurgeJob(services, app)
    yield CommonPurgeJob(services)
