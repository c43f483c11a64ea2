"""The calls that act."""

from __future__ import annotations

from functions.web import bodies
from functions.web.operations import Act
from functions.web.principal import Role

_WHY = "it is three in the morning"
_DIGEST = "sha256:0475d149c683b8b9a3a7a0f8a9d4c3b2e1f0a9b8c7d6e5f4a3b2c1d0e9f8a7b6"
_TAG = {"tag": "15-alpine", "reason": _WHY}

ACTS: tuple[Act, ...] = (
    Act(
        method="post",
        path="/v1/gates/{gate}/candidates",
        summary="Examine what a tag of the source is now",
        body=bodies.TagAsked,
        examples={"examine": _TAG},
    ),
    Act(
        method="post",
        path="/v1/candidates/{candidate}/rerun",
        summary="Examine a digest again, as a new attempt",
        body=bodies.Asked,
        examples={"rerun": {"reason": _WHY}},
    ),
    Act(
        method="post",
        path="/v1/candidates/{candidate}/cancel",
        summary="Stop a candidate and the run that examines it",
        body=bodies.Asked,
        examples={"cancel": {"reason": _WHY}},
        more="Refused once a stable tag is claimed for it: roll back instead.",
    ),
    Act(
        method="post",
        path="/v1/candidates/{candidate}/approve",
        summary="Approve a candidate that waits for it",
        body=bodies.Asked,
        examples={"approve": {"reason": "read the change notes"}},
        role=Role.APPROVER,
    ),
    Act(
        method="post",
        path="/v1/candidates/{candidate}/reject",
        summary="Reject a candidate that waits for approval",
        body=bodies.Asked,
        examples={"reject": {"reason": "the change notes speak of a new libc"}},
        role=Role.APPROVER,
    ),
    Act(
        method="post",
        path="/v1/gates/{gate}/rollback",
        summary="Move a stable tag back to what once passed, and hold it there",
        body=bodies.RollbackAsked,
        examples={
            "to a unique tag": _TAG | {"to": "15-alpine-cb2"},
            "until a newer digest passes": _TAG | {"to": _DIGEST, "until": "newer"},
        },
    ),
    Act(
        method="post",
        path="/v1/gates/{gate}/hold",
        summary="Keep a stable tag where it is",
        body=bodies.HoldAsked,
        examples={"hold": _TAG | {"until": "lifted"}},
        more="Candidates are examined all the same; what passes waits until the hold is lifted.",
    ),
    Act(
        method="delete",
        path="/v1/gates/{gate}/hold",
        summary="Lift a hold",
        body=bodies.TagAsked,
        examples={"lift": _TAG},
        more="What passed meanwhile goes on, the newest push wins.",
    ),
    Act(
        method="post",
        path="/v1/gates/{gate}/vetoes",
        summary="Ban a digest, and roll back from it if asked",
        body=bodies.VetoAsked,
        examples={
            "ban": {"digest": _DIGEST, "reason": _WHY},
            "ban and roll back": {"digest": _DIGEST, "reason": _WHY, "rollback": True},
            "ban and roll back to": {"digest": _DIGEST, "reason": _WHY, "to": "15-alpine-cb2"},
        },
        more=(
            "Where a stable tag stands on the digest, the answer says what to roll back to. With `rollback` or `to` "
            "that is done, and the tag is held there as after any rollback."
        ),
    ),
    Act(
        method="delete",
        path="/v1/gates/{gate}/vetoes/{digest}",
        summary="Lift a veto",
        body=bodies.Asked,
        examples={"lift": {"reason": "it was the wrong digest"}},
    ),
    Act(
        method="post",
        path="/v1/apps/{app}/rollouts",
        summary="Build an app again and deploy it, or deploy an image that was built before",
        body=bodies.RolloutAsked,
        examples={
            "build again": {"reason": _WHY},
            "deploy what was built": {"image": "cc3", "reason": "the new one is slow"},
        },
        more="An image must be one of the app's own that a rollout had before, and still be what it was then.",
    ),
    Act(
        method="post",
        path="/v1/apps/{app}/rollback",
        summary="Deploy the image that was live before",
        body=bodies.Asked,
        examples={"roll back": {"reason": _WHY}},
    ),
    Act(
        method="post",
        path="/v1/rollouts/{rollout}/cancel",
        summary="Stop a rollout that is still being built",
        body=bodies.Asked,
        examples={"cancel": {"reason": _WHY}},
    ),
    Act(
        method="post",
        path="/v1/sweep",
        summary="Look for drift now, and mend it",
        body=bodies.Asked,
        examples={"sweep": {"reason": "the registry was away"}},
        more="A dry run looks at everything and mends nothing. A sweep that is not done in a minute is gone on with "
        "by the timer.",
    ),
)
