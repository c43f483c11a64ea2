"""Event filters of subscriptions.

Source: https://learn.microsoft.com/azure/event-grid/event-filtering
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from sandbox.eventgrid.event import lookup
from sandbox.web import Fault

_LIMIT = 25


@dataclass(frozen=True, slots=True)
class _Operator:
    """An advanced operator: the shape of its value, and the test of one event value against one filter value.
    A negated operator matches if no value passes the test, or if the event has no value."""

    shape: str
    test: Callable[[Any, Any], bool]
    negated: bool = False


def _within(value: float, bounds: list[float]) -> bool:
    return bounds[0] <= value <= bounds[1]


_BASE: Mapping[str, _Operator] = {
    "StringIn": _Operator("strings", lambda a, b: a == b),
    "StringBeginsWith": _Operator("strings", lambda a, b: a.startswith(b)),
    "StringEndsWith": _Operator("strings", lambda a, b: a.endswith(b)),
    "StringContains": _Operator("strings", lambda a, b: b in a),
    "NumberIn": _Operator("numbers", lambda a, b: a == b),
    "NumberInRange": _Operator("ranges", _within),
}
_OPERATORS: Mapping[str, _Operator] = {
    **_BASE,
    **{
        name.replace("String", "StringNot").replace("Number", "NumberNot"): _Operator(base.shape, base.test, True)
        for name, base in _BASE.items()
    },
    "NumberLessThan": _Operator("number", lambda a, b: a < b),
    "NumberGreaterThan": _Operator("number", lambda a, b: a > b),
    "NumberLessThanOrEquals": _Operator("number", lambda a, b: a <= b),
    "NumberGreaterThanOrEquals": _Operator("number", lambda a, b: a >= b),
    "BoolEquals": _Operator("boolean", lambda a, b: a is b),
    "IsNullOrUndefined": _Operator("none", lambda a, b: False),
    "IsNotNull": _Operator("none", lambda a, b: False),
}
_NAMES = {name.lower(): name for name in _OPERATORS}
_SHAPES: Mapping[str, Any] = {
    "strings": list[str],
    "numbers": list[float],
    "ranges": list[tuple[float, float]],
    "number": float,
    "boolean": bool,
}


class AdvancedFilter(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """A test of one value of the event; the filters of a subscription are joined by AND, their values by OR."""

    operator_type: str
    key: str
    value: Any = None
    values: list[Any] | None = None

    def check(self, where: str) -> None:
        """Reject an unknown operator, or one whose value has the wrong shape.

        Raises:
            Fault: 400 that names the field.
        """
        operator = _OPERATORS.get(self._name)
        if operator is None:
            raise invalid(f"{where}.operatorType '{self.operator_type}' is unknown. Known: {', '.join(_OPERATORS)}")
        if not self.key:
            raise invalid(f"{where}.key is empty")
        plural = operator.shape in ("strings", "numbers", "ranges")
        if (self.value if plural else self.values) is not None:
            raise invalid(f"{where}.{'value' if plural else 'values'} does not belong to {self._name}")
        if operator.shape == "none":
            return
        try:
            msgspec.convert(self.values if plural else self.value, _SHAPES[operator.shape])
        except msgspec.ValidationError as error:
            raise invalid(f"{where}.{'values' if plural else 'value'} of {self._name}: {error}") from error

    def matches(self, event: dict[str, Any], on_arrays: bool) -> bool:
        """Whether a rendered event matches; the elements of an array are tested only with `on_arrays`."""
        found = lookup(event, self.key)
        if self._name == "IsNullOrUndefined":
            return found is None
        if found is None or self._name == "IsNotNull":
            return found is not None or _OPERATORS[self._name].negated
        operator = _OPERATORS[self._name]
        candidates = found if on_arrays and isinstance(found, list) else [found]
        expected = self.values if self.values is not None else [self.value]
        passes = any(_test(operator, one, other) for one in candidates for other in expected)
        return passes is not operator.negated

    @property
    def _name(self) -> str:
        return _NAMES.get(self.operator_type.lower(), self.operator_type)


class Filter(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True, omit_defaults=True):
    """A subscription's filter; an empty one matches every event."""

    subject_begins_with: str | None = None
    subject_ends_with: str | None = None
    is_subject_case_sensitive: bool | None = None
    included_event_types: list[str] | None = None
    enable_advanced_filtering_on_arrays: bool | None = None
    advanced_filters: list[AdvancedFilter] | None = None

    def check(self) -> None:
        """Reject what Event Grid rejects.

        Raises:
            Fault: 400 that names the field.
        """
        filters = self.advanced_filters or []
        for position, advanced in enumerate(filters):
            advanced.check(f"filter.advancedFilters[{position}]")
        if sum(max(1, len(advanced.values or ())) for advanced in filters) > _LIMIT:
            raise invalid(f"filter.advancedFilters has more than {_LIMIT} values")

    def matches(self, event: dict[str, Any]) -> bool:
        """Whether a rendered event (of either schema) matches every part of the filter."""
        subject = str(event.get("subject", ""))
        kind = str(event.get("eventType", event.get("type", ""))).lower()
        begins, ends = self.subject_begins_with or "", self.subject_ends_with or ""
        if not self.is_subject_case_sensitive:
            subject, begins, ends = subject.lower(), begins.lower(), ends.lower()
        types = [name.lower() for name in self.included_event_types or ()]
        return (
            subject.startswith(begins)
            and subject.endswith(ends)
            and (not types or kind in types or "all" in types)
            and all(
                advanced.matches(event, bool(self.enable_advanced_filtering_on_arrays))
                for advanced in self.advanced_filters or ()
            )
        )


def invalid(message: str) -> Fault:
    """Return the fault of an invalid request body."""
    return Fault(400, "InvalidRequest", f"The request content was invalid: {message}.")


def _test(operator: _Operator, found: Any, expected: Any) -> bool:
    if operator.shape == "strings":
        return isinstance(found, str) and operator.test(found.lower(), expected.lower())
    if operator.shape == "boolean":
        return isinstance(found, bool) and operator.test(found, expected)
    return isinstance(found, int | float) and not isinstance(found, bool) and operator.test(found, expected)
