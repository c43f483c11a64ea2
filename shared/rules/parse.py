"""Parses gates.yaml into the policy, or reports every error with its line and column."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date
from types import UnionType
from typing import Any, Union, get_args, get_origin

import msgspec
import yaml
from msgspec.structs import replace

from shared.checks import check_type
from shared.domain.errors import Malformed, Misconfigured
from shared.domain.policy import App, CheckRule, DeployRule, ExceptionRule, Gate, NamedRule, Policy, RegistryRule, Rule
from shared.domain.targets import deploy_type
from shared.findings.rules import Condition
from shared.rules.conflicts import Path, Problem, conflicts, exception_conflicts

_PLUG_INS: dict[type, Callable[[], type[msgspec.Struct]]] = {CheckRule: check_type, DeployRule: deploy_type}
"""The parts of which exactly one key is written, each key with its own rule: the function that creates the type with
all keys, by the base class of the rules."""

Place = tuple[int, int]
"""Line and column, from 1, of a key or an item."""


class InvalidGates(Misconfigured):
    """gates.yaml, or a part of it, has errors; `errors` has all, each with its line and column, in their order."""

    def __init__(self, name: str, errors: Iterable[tuple[Place, str]]) -> None:
        ordered = sorted(errors, key=lambda error: error[0])
        self.errors = [f"line {line}, column {column}: {problem}" for (line, column), problem in ordered]
        count = f"{len(ordered)} error{'s' if len(ordered) > 1 else ''}"
        super().__init__("\n  ".join((f"{name} has {count}:", *self.errors)))


def parse_gates(text: str, name: str = "gates.yaml", *, signs_in: bool = True) -> Policy:
    """The policy in a gates.yaml, for an app with sign-in (`signs_in`), or with function keys only.

    Raises:
        InvalidGates: it is not YAML, violates its schema, or has conflicting rules.
    """
    value, places = _load(text, name)
    problems = list(_type_errors(value, Policy))
    if not problems:
        policy = _with_defaults(msgspec.convert(value, Policy, dec_hook=_plug_in))
        problems = list(conflicts(policy, signs_in=signs_in))
        if not problems:
            return policy
    raise InvalidGates(name, (_located(path, problem, places) for path, problem in problems))


def parse_exceptions(text: str, name: str = "exceptions.yaml") -> tuple[ExceptionRule, ...]:
    """The exceptions in a file of their own: what stands under `exceptions` in gates.yaml, with or without that key.

    Raises:
        InvalidGates: it is not YAML, violates its schema, or has conflicting rules.
    """
    value, places = _load(text, name)
    key: Path = ("exceptions",) if isinstance(value, dict) and list(value) == ["exceptions"] else ()
    listed, kind = (value["exceptions"] if key else value), tuple[ExceptionRule, ...]
    problems = list(_type_errors(listed, kind, key))
    if not problems:
        exceptions = msgspec.convert(listed, kind)
        problems = list(exception_conflicts(exceptions, key))
        if not problems:
            return exceptions
    raise InvalidGates(name, (_located(path, problem, places) for path, problem in problems))


def parse_condition(text: str) -> Condition:
    """A condition of `fail_on` in one line, `severity=high,fixable`: a key alone is true.

    Raises:
        Malformed: it has no key, an unknown one, one twice, or a value that does not fit its key.
    """
    parts = [part.strip().partition("=") for part in text.split(",") if part.strip()]
    value = {key: _plain_value(written) if is_written else True for key, is_written, written in parts}
    if not value or len(value) < len(parts):
        raise Malformed(repr(text), "each key is needed once, and at least one, e.g. severity=high,fixable")
    problems = list(_type_errors(value, Condition))
    if problems:
        raise Malformed(repr(text), "; ".join(f"{'.'.join(map(str, path))}: {problem}" for path, problem in problems))
    return msgspec.convert(value, Condition)


def _plain_value(text: str) -> bool | float | str:
    """A value without quotes: true, false, a number, or a text."""
    if text in ("true", "false"):
        return text == "true"
    try:
        return float(text)
    except ValueError:
        return text


def _located(path: Path, problem: str, places: Mapping[Path, Place]) -> tuple[Place, str]:
    """A problem with its path, and the place of the innermost part of the path that exists."""
    known = next(path[:end] for end in range(len(path), -1, -1) if path[:end] in places)
    return places[known], f"{'.'.join(map(str, path))}: {problem}" if path else problem


# Defaults.


def _with_defaults(policy: Policy) -> Policy:
    """The policy with the values that its rules derive: their names, and defaults that depend on a registry."""
    registries = {name: replace(rule, name=name) for name, rule in policy.registries.items()}
    return Policy(
        registries=registries,
        gates={name: _gate(name, gate, registries) for name, gate in policy.gates.items()},
        apps={name: _app(name, app, registries) for name, app in policy.apps.items()},
        exceptions=policy.exceptions,
    )


def _gate(name: str, gate: Gate, registries: Mapping[str, RegistryRule]) -> Gate:
    """A gate, with the whole name of its source repository."""
    source, registry = gate.source, registries.get(gate.source.registry)
    if registry:
        source = replace(source, repository=registry.full_name(source.repository))
    return replace(gate, name=name, source=source)


def _app(name: str, app: App, registries: Mapping[str, RegistryRule]) -> App:
    """An app, with the defaults of its deployment from the registry of its build."""
    deploy, registry = app.deploy, registries.get(app.build.registry)
    return replace(app, name=name, deploy=deploy.completed(registry) if deploy and registry else deploy)


# YAML: plain values, and their places.


def _load(text: str, name: str) -> tuple[Any, dict[Path, Place]]:
    """The plain values of a document, and their places.

    Raises:
        InvalidGates: the text is not YAML, or has aliases (which can expand exponentially), duplicate keys, or keys
            that are not text.
    """
    places: dict[Path, Place] = {(): (1, 1)}
    try:
        _refuse_aliases(text)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        return None if node is None else _value(node, (), places), places
    except yaml.MarkedYAMLError as error:
        place = _place(error.problem_mark) if error.problem_mark else (1, 1)
        problem = str(error.problem or error)
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        place = before.count("\n") + 1, error.position - before.rfind("\n")
        problem = f"the character {chr(error.character)!a} is not allowed"
    except RecursionError:
        place, problem = (1, 1), "it is nested too deeply"
    raise InvalidGates(name, [(place, problem)])


def _refuse_aliases(text: str) -> None:
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        if isinstance(token, yaml.AliasToken):
            problem = f"the alias *{token.value} is not allowed: write its value"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=token.start_mark)


def _value(node: yaml.Node, path: Path, places: dict[Path, Place]) -> Any:
    places[path] = _place(node.start_mark)
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, places)
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, (*path, index), places) for index, item in enumerate(node.value)]
    try:
        value = yaml.SafeLoader("").construct_object(node)
        return node.value if isinstance(value, date) else value  # a time is text: the types of the rules read it
    except ValueError as error:  # resembles a date or a number, but is invalid
        problem = f"{node.value!r} cannot be read ({error}); write it in quotes"
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark) from error


def _mapping(node: yaml.MappingNode, path: Path, places: dict[Path, Place]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = key_node.value
        if not isinstance(key, str) or key in result:
            problem = f"duplicate key {key!r}" if isinstance(key, str) else "a key must be text"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=key_node.start_mark)
        result[key] = _value(value_node, (*path, key), places)
        places[(*path, key)] = _place(key_node.start_mark)
    return result


def _place(mark: yaml.Mark) -> Place:
    return mark.line + 1, mark.column + 1


# Types.


def _type_errors(value: Any, kind: Any, path: Path = ()) -> Iterator[Problem]:
    """All errors of a plain value for a type, while msgspec itself stops at the first one.

    Rules are checked key by key, mappings and lists item by item, everything else by msgspec.
    """
    bare, _ = _described(kind)
    if bare in _PLUG_INS and value is not None:
        yield from _plug_in_errors(value, _PLUG_INS[bare](), path)
        return
    if isinstance(bare, type) and issubclass(bare, Rule) and isinstance(value, dict):
        yield from _rule_errors(value, bare, path)
        return
    origin, arguments = get_origin(bare), get_args(bare)
    inner: list[Problem] = []
    if origin is Mapping and isinstance(value, dict):
        for key, item in value.items():
            inner.extend(_leaf_errors(key, arguments[0], (*path, key)))
            inner.extend(_type_errors(item, arguments[1], (*path, key)))
    elif origin is tuple and isinstance(value, list):
        for index, item in enumerate(value):
            inner.extend(_type_errors(item, arguments[0], (*path, index)))
    yield from inner or _leaf_errors(value, kind, path)


def _rule_errors(value: dict[str, Any], kind: type[Rule], path: Path) -> Iterator[Problem]:
    keys = {field.name: field for field in msgspec.structs.fields(kind)}
    if issubclass(kind, NamedRule):
        del keys["name"]
    for key in value:
        if key not in keys:
            yield (*path, key), f"unknown key; known keys: {', '.join(keys)}"
    for key, field in keys.items():
        if key in value:
            yield from _type_errors(value[key], field.type, (*path, key))
        elif field.required:
            yield path, f"the key {key!r} is missing"


def _plug_in_errors(value: Any, written: type[msgspec.Struct], path: Path) -> Iterator[Problem]:
    """The errors of a part that must have exactly one key."""
    errors = list(_type_errors(value, written, path))
    if not errors and sum(rule is not None for rule in value.values()) != 1:
        errors.append((path, f"exactly one key is needed here: {' or '.join(written.__struct_fields__)}"))
    yield from errors


def _plug_in(kind: type, value: Any) -> Rule:
    """The rule of such a part that has no errors."""
    rules: tuple[Rule | None, ...] = msgspec.structs.astuple(msgspec.convert(value, _PLUG_INS[kind]()))
    return next(rule for rule in rules if rule is not None)


def _leaf_errors(value: Any, kind: Any, path: Path) -> Iterator[Problem]:
    try:
        msgspec.convert(value, kind, dec_hook=_plug_in)
    except msgspec.ValidationError as error:
        bare, described = _described(kind)
        problem = str(error).split(" - at `")[0].replace("`", "'").replace("'array'", "a list")
        hint = "; write it in quotes" if bare is str and isinstance(value, int | float) else ""
        yield path, (f"{repr(value)[:80]} is not {described}" if described else problem) + hint


def _described(kind: Any) -> tuple[Any, str]:
    """A type without annotations and None, and its description. In `X | None`, that of X takes precedence."""
    metas = getattr(kind, "__metadata__", ())
    bare, description = (get_args(kind)[0] if metas else kind), ""
    if get_origin(bare) in (Union, UnionType):
        bare, description = _described(get_args(bare)[0])
    return bare, next(filter(None, (description, *(meta.description for meta in metas))), "")
