"""Rescans of promoted images: when they run, what they say, whom they tell, and what they leave alone."""

from __future__ import annotations

import msgspec

from shared.board.overview import overview_page
from shared.board.parts import Severity
from shared.domain.alarm import Alarm, AlarmKind
from shared.domain.rescan import Rescan
from shared.domain.stable_tag import TagScan
from shared.records.alarms import Alarms
from tests.fakes import World
from tests.unit.test_scan_check import GREEN, OPENSSL, SCAN, ZLIB, push, scan_world, will_report

RESCAN = msgspec.structs.replace(SCAN, rescan="24h")
DAY = 86_400


def promoted(*rules: object) -> World:
    """A world that scans again once a day, and whose promoted image has one finding, which does not fail."""
    world = scan_world(*(rules or (RESCAN,)))  # type: ignore[arg-type]
    will_report(world, ZLIB)
    push(world)
    swept(world, 0)
    return world


def swept(world: World, seconds: float = 300) -> None:
    """A sweep after some time; the runs that it starts end before the next one."""
    world.pass_time(seconds)
    world.sweep_now()


def rescanned(world: World) -> None:
    """A day passes, and the promoted image is scanned again."""
    swept(world, DAY)
    swept(world)


def alarms(world: World, kind: AlarmKind = AlarmKind.AT_RISK) -> list[Alarm]:
    return [alarm for alarm in Alarms(world.services).active("gates/node") if alarm.kind is kind]


def scan(world: World) -> TagScan:
    found = world.stable().current_scan
    assert found is not None
    return found


def rescans(world: World) -> list[Rescan]:
    return [stored.record for stored in world.ledger.list(Rescan, "node")]


def test_a_promoted_image_is_scanned_again_when_its_report_is_a_day_old_and_not_before() -> None:
    world = promoted()
    swept(world, DAY - 600)
    assert len(world.tasks.runs) == 1
    swept(world, 600)
    assert len(world.tasks.runs) == 2
    again = list(world.tasks.runs.values())[-1].values
    assert again["IMAGE"] == f"contosobaseartifacts.azurecr.io/node@{GREEN}"


def test_a_new_finding_puts_it_at_risk_and_tells_people_and_the_tag_stays() -> None:
    world = promoted()
    will_report(world, ZLIB, OPENSSL)
    rescanned(world)
    (alarm,) = alarms(world)
    assert "CVE-2026-1" in alarm.words
    assert "1 of them new since it was promoted" in alarm.words
    assert "no candidate that mends it" in alarm.plan
    assert (world.stable_tag(), scan(world).at_risk, scan(world).new) == (GREEN, True, 1)
    assert scan(world).counts == {"high": 1, "low": 1}
    assert world.announcer.names.count("DriftFound") == 1


# the board


def test_the_overview_says_what_is_at_risk_and_how_old_the_scans_are() -> None:
    world = promoted()
    will_report(world, ZLIB, OPENSSL)
    rescanned(world)
    overview = overview_page(world.services, world.clock.now())
    (item,) = overview.action_items
    assert (item.state, item.severity, item.link) == (
        "at risk",
        Severity.BAD,
        f"candidates/{world.candidate(GREEN).id}",
    )
    assert "CVE-2026-1" in item.reason
    assert overview.headline == "1 at risk"
    (gate,) = overview.gates
    assert gate.scans == "1 tag at risk; 1 high, 1 lesser; scanned 4 min ago"
    stable = next(cell for cell in gate.rows[0].cells if cell.title == "Stable tag")
    assert (stable.state, stable.note) == ("at risk", "1 high, 1 lesser; scanned 4 min ago")
