"""Sprig's functions for lists, maps, defaults and times, and those that are refused here.

Source: https://masterminds.github.io/sprig/
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sandbox.tasks.taskfile.gotemplate.functions import Function, refused
from sandbox.tasks.taskfile.gotemplate.sprig_text import to_integer
from sandbox.tasks.taskfile.gotemplate.values import TemplateError, bounded, json_of, kind, text_of, texts, type_name

_LONGEST = 10_000
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h)")
_DURATION = re.compile(rf"[+-]?(?:{_DURATION_PART.pattern})+")
_LONGEST_DURATION, _LONGEST_LAYOUT, _MOST_COMPARISONS = 64, 1_000, 1_000_000
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}
_LAYOUT = re.compile(
    r"2006|January|Jan|Monday|Mon|MST|Z07:00|Z0700|-07:00|-0700|-07|\.0+|\.9+|01|02|03|04|05|06|15|PM|pm|_2|1|2|3|4|5"
)


def _keyed(parts: list[str]) -> dict[str, str]:
    return {f"_{number}": part for number, part in enumerate(parts)}


def _until(start: int, stop: int, step: int) -> list[int]:
    if not step or (stop < start) != (step < 0):
        return []
    numbers = range(start, stop, step)
    if len(numbers) > _LONGEST:
        raise TemplateError(f"more than {_LONGEST} numbers are refused here")
    return list(numbers)


def _strings(value: object) -> list[str]:
    return texts(value if isinstance(value, list) else [value])


def _joined(separator: str, items: object) -> str:
    strings = _strings(items)
    bounded(sum(map(len, strings)) + len(separator) * len(strings))
    return separator.join(strings)


def _cut(items: list[Any], *bounds: object) -> list[Any] | None:
    if not items:
        return None
    start = to_integer(bounds[0]) if bounds else 0
    end = to_integer(bounds[1]) if len(bounds) > 1 else len(items)
    if not 0 <= start <= end <= len(items):
        raise TemplateError("slice bounds out of range")
    return items[start:end]


def _unique(items: list[Any]) -> list[Any]:
    found: list[Any] = []
    _compare(len(items), len(items))
    for item in items:
        if not _among(item, found):
            found.append(item)
    return found


def _without(items: list[Any], *leave: object) -> list[Any]:
    _compare(len(items), len(leave))
    return [item for item in items if not _among(item, list(leave))]


def _compare(items: int, others: int) -> None:
    """Refuse to compare each of so many items with each of the others, if that takes long."""
    if items * others > _MOST_COMPARISONS:
        raise TemplateError(f"more than {_MOST_COMPARISONS} comparisons are refused here")


def _among(item: object, items: list[Any]) -> bool:
    return any(_deep_equal(item, other) for other in items)


def _deep_equal(first: object, other: object) -> bool:
    return kind(first) == kind(other) and first == other


def _has(item: object, items: object) -> bool:
    if items is None:
        return False
    if not isinstance(items, list):
        raise TemplateError(f"Cannot find has on type {kind(items)}")
    return _among(item, items)


def _dictionary(*values: object) -> dict[str, object]:
    padded = [*values, ""] if len(values) % 2 else list(values)
    return {text_of(key): value for key, value in zip(padded[::2], padded[1::2], strict=True)}


def _changed(target: dict[str, Any], key: str, *value: object) -> dict[str, Any]:
    if value:
        target[key] = value[0]
    else:
        target.pop(key, None)
    return target


def _merge(*, overwrite: bool) -> Callable[..., dict[str, Any]]:
    def merge(target: dict[str, Any], *sources: dict[str, Any]) -> dict[str, Any]:
        for source in sources:
            for key, value in source.items():
                if isinstance(value, dict) and isinstance(target.get(key), dict):
                    merge(target[key], value)
                elif (overwrite and value) or not target.get(key):
                    target[key] = value
        return target

    return merge


def _default(fallback: object, *given: object) -> object:
    return given[0] if given and given[0] else fallback


def _instant(value: object) -> datetime:
    if isinstance(value, datetime):
        return value
    return datetime.fromtimestamp(int(value), UTC) if isinstance(value, int) else datetime.now(UTC)


def _formatted(layout: str, value: object, zone: str = "UTC") -> str:
    if len(layout) > _LONGEST_LAYOUT:
        raise TemplateError(f"a layout of more than {_LONGEST_LAYOUT} characters is refused here")
    try:
        at = _instant(value).astimezone(UTC if zone in ("", "UTC", "Local") else ZoneInfo(zone))
    except (ZoneInfoNotFoundError, ValueError):
        at = _instant(value).astimezone(UTC)
    return _LAYOUT.sub(lambda match: _component(match[0], at), layout)


def _component(part: str, at: datetime) -> str:
    if part.startswith("."):
        digits = f".{at:%f}000"[: len(part)]
        return digits if "0" in part else digits.rstrip("0").rstrip(".")
    offset = f"{at:%z}"
    zoned = {"-0700": offset, "-07:00": f"{offset[:3]}:{offset[3:]}", "-07": offset[:3]}
    for key, text in (("Z0700", zoned["-0700"]), ("Z07:00", zoned["-07:00"])):
        zoned[key] = "Z" if offset == "+0000" else text
    hour = at.hour % 12 or 12
    numbers = {"1": at.month, "2": at.day, "3": hour, "4": at.minute, "5": at.second}
    padded = {"01": at.month, "02": at.day, "03": hour, "04": at.minute, "05": at.second, "06": at.year % 100}
    words = {
        "2006": f"{at:%Y}", "15": f"{at:%H}", "January": f"{at:%B}", "Jan": f"{at:%b}", "Monday": f"{at:%A}",
        "Mon": f"{at:%a}", "MST": f"{at:%Z}", "PM": "PM" if at.hour >= 12 else "AM",
        "pm": "pm" if at.hour >= 12 else "am", "_2": f"{at.day:2d}",
    }  # fmt: skip
    known: dict[str, object] = {**words, **zoned, **numbers}
    return f"{padded[part]:02d}" if part in padded else str(known[part])


def _moved(duration: str, at: datetime) -> datetime:
    if len(duration) > _LONGEST_DURATION or not _DURATION.fullmatch(duration):
        return at
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in _DURATION_PART.findall(duration))
    return at + timedelta(seconds=-seconds if duration.startswith("-") else seconds)


def _fail(message: str) -> str:
    raise TemplateError(message)


def _split(separator: str, text: str, count: int = -1) -> list[str]:
    if not separator:
        return list(text)
    return text.split(separator, count - 1 if count > 0 else -1) if count else []


_REGEX = "regular expressions are refused here: Go's take linear time, those of the sandbox could stop it"
_KEYS = "keys and certificates are not made here: keep them in a vault, and use {{.Secrets.name}}"
_HOST = "it would read this machine, where ACR reads its agent"
_ABSENT = "it is not made here"
REFUSED = {
    _REGEX: ("regexFind", "regexFindAll", "regexMatch", "regexReplaceAll", "regexReplaceAllLiteral", "regexSplit"),
    _KEYS: (
        "genPrivateKey", "derivePassword", "buildCustomCert", "genCA", "genSelfSignedCert", "genSignedCert",
        "encryptAES", "decryptAES",
    ),
    _HOST: ("env", "expandenv", "getHostByName"),
    _ABSENT: ("semver", "semverCompare", "toDate", "ago", "urlJoin", "abbrevboth", "call"),
}  # fmt: skip
"""The functions that exist in ACR and are refused here, by the reason."""

SPRIG_DATA = {
    "append": Function(lambda items, item: [*items, item], "la"),
    "coalesce": Function(lambda *values: next((value for value in values if value), None), "*a"),
    "compact": Function(lambda items: [item for item in items if item], "l"),
    "concat": Function(lambda *lists: [item for items in lists for item in items], "*l"),
    "date": Function(_formatted, "sa"),
    "dateInZone": Function(_formatted, "sas"),
    "dateModify": Function(_moved, "st"),
    "date_in_zone": Function(_formatted, "sas"),
    "date_modify": Function(_moved, "st"),
    "deepCopy": Function(copy.deepcopy, "a"),
    "deepEqual": Function(_deep_equal, "aa"),
    "default": Function(_default, "a*a"),
    "dict": Function(_dictionary, "*a"),
    "empty": Function(lambda value: not value, "a"),
    "fail": Function(_fail, "s"),
    "first": Function(lambda items: items[0] if items else None, "l"),
    "has": Function(_has, "aa"),
    "hasKey": Function(lambda target, key: key in (target or {}), "ms"),
    "htmlDate": Function(lambda value: _formatted("2006-01-02", value), "a"),
    "htmlDateInZone": Function(lambda value, zone: _formatted("2006-01-02", value, zone), "as"),
    "initial": Function(lambda items: items[:-1], "l"),
    "join": Function(_joined, "sa"),
    "keys": Function(lambda *maps: [key for target in maps for key in sorted(target)], "*m"),
    "kindIs": Function(lambda target, value: kind(value) == target, "sa"),
    "kindOf": Function(kind, "a"),
    "last": Function(lambda items: items[-1] if items else None, "l"),
    "list": Function(lambda *values: list(values), "*a"),
    "merge": Function(_merge(overwrite=False), "m*m"),
    "mergeOverwrite": Function(_merge(overwrite=True), "m*m"),
    "now": Function(lambda: datetime.now(UTC), ""),
    "omit": Function(lambda target, *keys: {key: target[key] for key in target if key not in keys}, "m*s"),
    "pick": Function(lambda target, *keys: {key: target[key] for key in keys if key in target}, "m*s"),
    "pluck": Function(lambda key, *maps: [target[key] for target in maps if key in target], "s*m"),
    "prepend": Function(lambda items, item: [item, *items], "la"),
    "push": Function(lambda items, item: [*items, item], "la"),
    "rest": Function(lambda items: items[1:], "l"),
    "reverse": Function(lambda items: items[::-1], "l"),
    "set": Function(_changed, "msa"),
    "slice": Function(_cut, "l*a"),
    "sortAlpha": Function(lambda items: sorted(_strings(items)), "a"),
    "split": Function(lambda separator, text: _keyed(_split(separator, text)), "ss"),
    "splitList": Function(_split, "ss"),
    "splitn": Function(lambda separator, count, text: _keyed(_split(separator, text, count)), "sis"),
    "ternary": Function(lambda yes, no, condition: yes if condition else no, "aab"),
    "toJson": Function(json_of, "a"),
    "toPrettyJson": Function(lambda value: json_of(value, pretty=True), "a"),
    "toStrings": Function(_strings, "a"),
    "tuple": Function(lambda *values: list(values), "*a"),
    "typeIs": Function(lambda target, value: type_name(value) == target, "sa"),
    "typeIsLike": Function(lambda target, value: type_name(value) in (target, f"*{target}"), "sa"),
    "typeOf": Function(type_name, "a"),
    "uniq": Function(_unique, "l"),
    "unixEpoch": Function(lambda at: str(int(at.timestamp())), "t"),
    "unset": Function(_changed, "ms"),
    "until": Function(lambda count: _until(0, count, -1 if count < 0 else 1), "i"),
    "untilStep": Function(_until, "iii"),
    "values": Function(lambda target: [target[key] for key in sorted(target)], "m"),
    "without": Function(_without, "l*a"),
    **{name: refused(reason) for reason, names in REFUSED.items() for name in names},
}
