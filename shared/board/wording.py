"""Times, counts and digests as text."""

from datetime import datetime

from shared.domain.image import short

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def age(since: datetime | None, now: datetime) -> str:
    """A rounded time span: `now`, `40 s`, `3 min`, `5 h`, `2 d`; "" without a beginning."""
    if since is None:
        return ""
    seconds = max(0, int((now - since).total_seconds()))
    if seconds < 10:
        return "now"
    if seconds < _MINUTE:
        return f"{seconds // 10 * 10} s"
    for unit, size, limit in (("min", _MINUTE, _HOUR), ("h", _HOUR, _DAY)):
        if seconds < limit:
            return f"{seconds // size} {unit}"
    return f"{seconds // _DAY} d"


def ago(at: datetime | None, now: datetime) -> str:
    """The time since something: `3 min ago`, `now`; `not yet` if it has not happened."""
    span = age(at, now)
    return f"{span} ago" if span not in ("", "now") else span or "not yet"


def counted(number: int, one: str, many: str = "") -> str:
    """A number of things: `1 alarm`, `2 alarms`."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def duration(since: datetime | None, until: datetime) -> str:
    """An exact time span: `3 s`, `4 min 10 s`, `2 h 5 min`; "" without a beginning."""
    if since is None:
        return ""
    minutes, seconds = divmod(max(0, int((until - since).total_seconds())), _MINUTE)
    if minutes >= _MINUTE:
        return f"{minutes // _MINUTE} h {minutes % _MINUTE} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def moment(at: datetime | None) -> str:
    """A moment to the second: `2026-03-01T12:00:00Z`; "" for none."""
    return f"{at:%Y-%m-%dT%H:%M:%SZ}" if at else ""


def short_digest(digest: str | None) -> str:
    """The first digits of a digest, `nothing yet` for none."""
    return short(digest) if digest else "nothing yet"


def short_image(image: str | None) -> str:
    """An image without its registry, and with the first digits of its digest: `hello-world:cc3`, `node@7d8c…`."""
    if not image:
        return "nothing yet"
    name, _, digest = image.rpartition("/")[2].partition("@")
    return f"{name}@{short(digest)}" if digest else name
