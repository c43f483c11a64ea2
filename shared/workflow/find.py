"""What an operator names, found in the rules and in the ledger."""

from __future__ import annotations

import re

from shared.domain.candidate import Candidate, Verdict, candidate_row
from shared.domain.errors import Malformed, NotThere
from shared.domain.image import parse_digest, parse_tag
from shared.domain.policy import App, Gate
from shared.domain.rollout import BuiltImage, Rollout
from shared.domain.standing import Veto, veto_row
from shared.ports import Stored
from shared.workflow.services import Services

_CANDIDATE_ID = re.compile(r"(?P<gate>[a-z0-9-]{1,63})\.(?P<digest>[0-9a-f]{12,64})(?:-(?P<attempt>[0-9]{1,3}))?")
_ROLLOUT_ID = re.compile(r"(?P<app>[a-z0-9-]{1,63})\.(?P<name>[A-Za-z0-9._-]{1,200})")


class Find:
    """Looks things up, or says what there is not."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def gate(self, name: str) -> Gate:
        """A gate of the rules. Raises `NotThere`, naming those there are."""
        gate = self._services.gate(name)
        if gate is None:
            raise NotThere(
                f"there is no gate {name[:80]!r}; there is {', '.join(self._services.policy.gates) or 'none'}"
            )
        return gate

    def app(self, name: str) -> App:
        """An app of the rules. Raises `NotThere`, naming those there are."""
        app = self._services.app(name)
        if app is None:
            raise NotThere(f"there is no app {name[:80]!r}; there is {', '.join(self._services.policy.apps) or 'none'}")
        return app

    def candidate(self, identifier: str) -> Stored[Candidate]:
        """The candidate of an id: `<gate>.<digest, its first 12 digits at least>[-<attempt>]`, else the last attempt.

        Raises:
            Malformed: that is no id. NotThere: there is no such candidate.
        """
        match = _CANDIDATE_ID.fullmatch(identifier)
        if not match:
            raise Malformed("candidate", f"{identifier[:100]!r} is no id: <gate>.<digest>[-<attempt>]")
        found = [
            stored
            for stored in self._services.ledger.list(Candidate, match["gate"], match["digest"])
            if match["attempt"] is None or stored.record.attempt == int(match["attempt"])
        ]
        if not found:
            raise NotThere(f"there is no candidate {identifier}")
        if len({stored.record.digest for stored in found}) > 1:
            raise Malformed("candidate", f"{identifier} fits several digests: give more digits")
        return found[-1]

    def rollout(self, identifier: str) -> Stored[Rollout]:
        """The rollout of an id: `<app>.<name>`. Raises `Malformed` or `NotThere`."""
        match = _ROLLOUT_ID.fullmatch(identifier)
        if not match:
            raise Malformed("rollout", f"{identifier[:100]!r} is no id: <app>.<name>")
        stored = self._services.ledger.load(Rollout, match["app"], match["name"])
        if stored is None:
            raise NotThere(f"there is no rollout {identifier}")
        return stored

    def built(self, app: App, image: object) -> Rollout:
        """The last rollout of an app with an image, named by its tag or its digest, that the registry still has.

        Raises:
            Malformed: that is neither a tag nor a digest.
            NotThere: no rollout of this app ever had it, or its tag is gone or another digest by now.
        """
        wanted = tag_or_digest(image, "image")
        found: list[Rollout] = []
        for stored in self._services.ledger.list(Rollout, app.name):
            of = stored.record.image
            if of is not None and wanted in (of.tag, of.digest):
                found.append(stored.record)
        if not found:
            raise NotThere(f"no rollout of app {app.name} ever had the image {wanted}")
        last = max(found, key=lambda rollout: rollout.created_at)
        built = last.image
        assert built is not None  # those without one were left out
        registry = self._services.registry_rule(app.build.registry)
        there = self._services.registry.digest_of(registry, app.build.repository, built.tag)
        if there != built.digest:
            raise NotThere(f"{built} was {built.digest} when it was built and is {there or 'not there'} now")
        return last

    def veto_of_base(self, app: App, image: BuiltImage) -> Veto | None:
        """The veto that stands against the base an image was built on, as far as the ledger knows the base."""
        gate = self.gate(app.base.gate)
        rollouts = (stored.record for stored in self._services.ledger.list(Rollout, app.name))
        bases = {rollout.base.digest for rollout in rollouts if rollout.image == image and rollout.base is not None}
        return next((veto for base in bases if (veto := self.veto(gate, base)) is not None), None)

    def latest(self, gate: Gate, digest: str) -> Stored[Candidate] | None:
        """The last attempt at a digest."""
        prefix = candidate_row(digest, 0).rpartition("-")[0]
        attempts = list(self._services.ledger.list(Candidate, gate.name, prefix))
        return attempts[-1] if attempts else None

    def passed(self, gate: Gate, to: str) -> Candidate:
        """The candidate that once passed with a digest, named by the digest or by its unique tag.

        Raises:
            Malformed: that is neither a tag nor a digest.
            NotThere: there is no such tag, or no candidate of that digest ever passed under the current checks.
        """
        target = self._services.registry_rule(gate.promote.registry)
        wanted = tag_or_digest(to, "to")
        by_digest = wanted.startswith("sha256:")
        digest = wanted if by_digest else self._services.registry.digest_of(target, gate.promote.repository, wanted)
        if digest is None:
            raise NotThere(f"there is no {target.login_server}/{gate.promote.repository}:{wanted}")
        prefix = candidate_row(digest, 0).rpartition("-")[0]
        for stored in self._services.ledger.list(Candidate, gate.name, prefix):
            record = stored.record
            if record.fingerprint == gate.fingerprint and all(c.verdict is Verdict.PASSED for c in record.checks):
                return record
        raise NotThere(f"{to} has no passed verdict under the current checks of gate {gate.name}")

    def veto(self, gate: Gate, digest: str) -> Veto | None:
        """The veto that stands against a digest, or None."""
        stored = self._services.ledger.load(Veto, gate.name, veto_row(digest))
        return stored.record if stored is not None and stored.record.stands else None


def tag_or_digest(text: object, field: str) -> str:
    """What names an image in a known repository. Raises `Malformed` for anything else."""
    by_digest = isinstance(text, str) and text.startswith("sha256:")
    return parse_digest(text, field) if by_digest else parse_tag(text, field)


def candidate_id(candidate: Candidate) -> str:
    """The id of a candidate as operators use it."""
    return f"{candidate.gate}.{candidate.row}"


def rollout_id(rollout: Rollout) -> str:
    """The id of a rollout as operators use it."""
    return f"{rollout.app}.{rollout.name}"
