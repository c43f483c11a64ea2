"""Finds what an operator names, in the rules and in the ledger."""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from difflib import get_close_matches
from itertools import islice
from typing import TypeVar

import msgspec

from shared.domain.candidate import Candidate, CandidateState, attempts_of
from shared.domain.errors import Malformed, NotFound, Rejected
from shared.domain.image import Tag, parse_digest, parse_tag
from shared.domain.observation import Observation
from shared.domain.policy import App, Gate
from shared.domain.promotion import Promotion, archive_name, promotion_row
from shared.domain.rollout import BuiltImage, Rollout
from shared.domain.stable_tag import StableTag
from shared.domain.tag_rule import is_pattern
from shared.ports import HISTORY_LIMIT, NO_FILTER, ListFilter, Services, Stored, last, newest_promotions
from shared.promotion.vetoes import Vetoes

T = TypeVar("T")

_ITEMS_READ = 100
_CANDIDATE_ID = re.compile(r"(?P<gate>[a-z0-9-]{1,63})\.(?P<digest>[0-9a-f]{12,64})(?:-(?P<attempt>[0-9]{1,3}))?")
_ROLLOUT_ID = re.compile(r"(?P<app>[a-z0-9-]{1,63})\.(?P<name>[A-Za-z0-9._-]{1,200})")


class Lookup:
    """Finds gates, apps, tags and records; errors name what exists."""

    def __init__(self, services: Services) -> None:
        self._services, self._vetoes = services, Vetoes(services)

    def gate(self, name: str) -> Gate:
        """A gate of the rules. Raises `NotFound`, which names the gates."""
        return _named("gate", name, self._services.policy.gates)

    def app(self, name: str) -> App:
        """An app of the rules. Raises `NotFound`, which names the apps."""
        return _named("app", name, self._services.policy.apps)

    def tag(self, gate: Gate, text: object) -> Tag:
        """A tag that a gate tracks, has promoted or holds. Raises `Malformed` for any other, with similar ones."""
        tag, ledger = parse_tag(text), self._services.ledger
        if gate.takes(tag):
            return tag
        stable = {stored.record.tag: stored.record for stored in ledger.list(StableTag, gate.name)}
        if tag in stable and (stable[tag].digest is not None or stable[tag].hold is not None):
            return tag
        observed = (stored.record.tag for stored in ledger.list(Observation, gate.name))
        known = {*stable, *observed, *(name for name in gate.source.tags if not is_pattern(name))}
        near = " or ".join(get_close_matches(tag, known))
        meant = f"; did you mean {near}?" if near else ""
        raise Malformed("tag", f"gate {gate.name} does not track {tag}: it tracks {gate.source.tags_in_words}{meant}")

    def candidate(self, identifier: str) -> Stored[Candidate]:
        """The candidate with an id `<gate>.<digest>[-<attempt>]`: 12 digits suffice; the last attempt is the default.

        Raises:
            Malformed: the id is invalid. NotFound: there is no such candidate.
        """
        match = _CANDIDATE_ID.fullmatch(identifier)
        if not match:
            raise Malformed("candidate", f"{identifier[:100]!r} is not an id of the form <gate>.<digest>[-<attempt>]")
        found = [
            stored
            for stored in self._services.ledger.list(Candidate, match["gate"], match["digest"])
            if match["attempt"] is None or stored.record.attempt == int(match["attempt"])
        ]
        if not found:
            raise NotFound(f"there is no candidate {identifier}")
        if len({stored.record.digest for stored in found}) > 1:
            raise Malformed("candidate", f"{identifier} matches several digests: give more digits")
        return found[-1]

    def promotions_for(self, candidate: Candidate) -> list[Promotion]:
        """All promotions of a candidate's digest, with those of the archive, the oldest first.

        A promotion is not older than the first attempt at its digest: if that is younger than anything archived, the
        archive is not read.
        """
        found, archive = [stored.record for stored in self.promotions_about(candidate)], self._services.archive
        if candidate.attempt > 1 or candidate.created_at < self._services.clock.now() - self._services.keep:
            for place in archive.find(archive_name(candidate.gate, candidate.digest))[-_ITEMS_READ:]:
                with suppress(Rejected):  # deleted since it was listed
                    found.append(msgspec.json.decode(archive.read(place), type=Promotion))
        by_row = {one.row: one for one in reversed(found)}  # one that is being archived is in both
        return sorted(by_row.values(), key=lambda one: (one.created_at, one.row))

    def promotions_about(self, candidate: Candidate) -> list[Stored[Promotion]]:
        """The promotions of a candidate's digest in the ledger, in a constant number of queries.

        They are found among the open ones, the newest of its tag, those of source and stable tags with that digest
        now, the gate's newest, and those before the candidate's last change.
        """
        ledger, gate, digest = self._services.ledger, candidate.gate, candidate.digest
        listed = (*ledger.open(Promotion, gate), *newest_promotions(ledger, gate, candidate.tag))
        found = {one.record.row: one for one in listed if one.record.digest == digest}
        stables = (one.record for one in ledger.list(StableTag, gate))
        rows = [stable.promotion for stable in stables if stable.digest == digest]
        seen = (one.record for one in ledger.list(Observation, gate))
        rows += [promotion_row(one.tag, one.sequence) for one in seen if one.digest == digest]
        last = candidate.history[-1].at if candidate.history else candidate.created_at
        for only in (NO_FILTER, ListFilter(until=last + timedelta(seconds=1))):
            items = ledger.page(Promotion, gate, _ITEMS_READ, "", only).items
            rows += [promotion_row(item.tag, item.sequence) for item in items if item.digest == digest]
        missing = (row for row in dict.fromkeys(rows) if row and row not in found)
        loaded = (ledger.load(Promotion, gate, row) for row in islice(missing, _ITEMS_READ))
        return [*found.values(), *filter(None, loaded)]

    def rollout(self, identifier: str) -> Stored[Rollout]:
        """The rollout with an id `<app>.<name>`. Raises `Malformed` or `NotFound`."""
        match = _ROLLOUT_ID.fullmatch(identifier)
        if not match:
            raise Malformed("rollout", f"{identifier[:100]!r} is not an id of the form <app>.<name>")
        stored = self._services.ledger.load(Rollout, match["app"], match["name"])
        if stored is None:
            raise NotFound(f"there is no rollout {identifier}")
        return stored

    def built(self, app: App, image: object) -> BuiltImage:
        """An image of an earlier rollout of an app, by its tag or its digest, that the registry still has.

        Raises:
            Malformed: it is neither a tag nor a digest.
            NotFound: no recent rollout of this app had it, or its tag was deleted or points to another digest.
        """
        wanted = tag_or_digest(image, "image")
        images = (rollout.image for rollout in self._rollouts(app) if rollout.image and rollout.image.run_id)
        built = next((one for one in images if wanted in (one.tag, one.digest)), None)
        if built is None:
            raise NotFound(f"no recent rollout of app {app.name} had the image {wanted}")
        registry = self._services.registry_rule(app.build.registry)
        there = self._services.registry.digest_of(registry, app.build.repository, built.tag)
        if there != built.digest:
            raise NotFound(f"{built} was {built.digest} when it was built and is {there or 'deleted'} now")
        return built

    def _rollouts(self, app: App) -> Iterator[Rollout]:
        """The recent rollouts of an app, the newest first, read as they are consumed."""
        ledger, token = self._services.ledger, ""
        for _ in range(HISTORY_LIMIT // _ITEMS_READ):
            page = ledger.page(Rollout, app.name, _ITEMS_READ, token)
            names = (item.id.partition(".")[2] for item in page.items if item.image)
            loaded = (ledger.load(Rollout, app.name, name) for name in names)
            yield from (stored.record for stored in loaded if stored is not None)
            if not (token := page.next):
                return

    def latest(self, gate: Gate, digest: str) -> Stored[Candidate] | None:
        """The last attempt at a digest."""
        return last(self._services.ledger, Candidate, gate.name, attempts_of(digest))

    def passed(self, gate: Gate, to: str) -> Candidate:
        """The attempt with the last verdict on a digest, if that is `passed`, under any checks.

        The digest is named directly or by a tag of the target repository.

        Raises:
            Malformed: it is neither a tag nor a digest.
            NotFound: there is no such tag, or the digest has no verdict, or its last one is not `passed`.
        """
        target = self._services.registry_rule(gate.promote.registry)
        wanted = tag_or_digest(to, "to")
        by_digest = wanted.startswith("sha256:")
        digest = wanted if by_digest else self._services.registry.digest_of(target, gate.promote.repository, wanted)
        if digest is None:
            raise NotFound(f"there is no {target.login_server}/{gate.promote.repository}:{wanted}")
        attempt = self._vetoes.last_verdict(gate, digest)
        if attempt is None or attempt.state is not CandidateState.PASSED:
            raise NotFound(self._vetoes.against(gate, digest))
        return attempt


def _named(what: str, name: str, known: Mapping[str, T]) -> T:
    if name not in known:
        raise NotFound(f"there is no {what} {name[:80]!r}; there is {', '.join(known) or 'none'}")
    return known[name]


def tag_or_digest(text: object, field: str) -> str:
    """The tag or digest that names an image in a repository. Raises `Malformed` for anything else."""
    by_digest = isinstance(text, str) and text.startswith("sha256:")
    return parse_digest(text, field) if by_digest else parse_tag(text, field)
