"""The kinds of events in schedules: in 2,000 of them each happens at least once."""

from __future__ import annotations

from collections import Counter

ENOUGH = 2000
"""The number of schedules from which on no kind may be missing."""

KINDS = tuple(
    line.strip()
    for line in """
    a digest under fifty tags
    answer lost
    away
    commit of an app
    created again
    deleted container group
    deleted image
    deleted tag
    died after a call
    died before a call
    event delayed
    event duplicated
    event lost
    event of a deletion
    event replicated
    flapping tag
    flood of forged events
    forbidden
    foreign image under a run-like tag
    foreign push to a stable tag
    foreign push to a unique tag
    forged
    given up
    image at risk
    in the middle of a step
    killed container
    listener away for a day
    locked
    message delivered twice
    message delivered while its worker is paused
    operator: app rollback
    operator: approve
    operator: cancel
    operator: cancel rollout
    operator: examine
    operator: hold
    operator: lift
    operator: lift veto
    operator: rebuild
    operator: redeploy
    operator: reject
    operator: rerun
    operator: rollback
    operator: veto
    operator: veto with rollback
    outage longer than any retry
    outcome refused
    passing fault
    paused
    paused beyond its claim
    promoted by task
    push
    queue away
    redelivered
    returned or tagged again
    rules: app
    rules: base tag
    rules: checks
    rules: drift
    rules: gate
    rules: names
    slow call
    stale answer of a replica
    throttled
    unhealthy image
    withdrawn
""".splitlines()
    if line
)


def missing(counts: Counter[str]) -> list[str]:
    """The kinds that never happened."""
    return [kind for kind in KINDS if not counts[kind]]
