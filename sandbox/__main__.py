"""`python -m sandbox`: start, stop and inspect a local Azure."""

from __future__ import annotations

import argparse
import json
import math
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from sandbox import events, explain, lifecycle
from sandbox.instance import Instance, Settings, read_settings
from sandbox.needs import NeedError, ensure

_LOG_LINES = 40


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    instance = Instance(Path(options.state).resolve())
    try:
        return int(options.run(instance, options) or 0)
    except (lifecycle.SandboxError, NeedError) as error:
        print(f"sandbox: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    state = "state folder (default: .sandbox)"
    parser.add_argument("--state", default=".sandbox", help=state)
    either = argparse.ArgumentParser(add_help=False)  # --state is accepted before and after the command
    either.add_argument("--state", default=argparse.SUPPRESS, help=state)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: Callable[[Instance, argparse.Namespace], int | None], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text, parents=[either])
        command.set_defaults(run=run)
        return command

    add("needs", _needs, "install the missing dependencies of the sandbox, and list them")
    up = add("up", _up, "start it in the background")
    up.add_argument("--port", type=_port, default=None, help="the gateway's port (default: the previous one, or any)")
    up.add_argument("--time-scale", type=_scale, default=None, help="divide Azure's long delays by this (default: 1)")
    user = "who runs what needs no root (default: the previous one, or the user behind sudo; root for none)"
    up.add_argument("--user", default=None, help=user)
    add("down", _down, "stop it; its state is kept")
    add("status", _status, "show whether it runs, its address and its resources")
    env = add("env", _env, 'print the environment variables of its clients: eval "$(python -m sandbox env)"')
    env.add_argument("--json", action="store_true", help="as JSON")
    text = "deliver events (on), drop them all as for a stopped app (off), or drop, duplicate and reorder some (lossy)"
    events.add_arguments(add("events", events.run, text))
    explain.add_arguments(add("task", explain.run, "explain what a task file does, without running it"))
    logs = add("logs", _logs, "list the logs, or print the end of one")
    logs.add_argument("name", nargs="?", help="the name of a log: sandbox, azurite, registry-NAME, site-NAME")
    logs.add_argument("--lines", type=int, default=_LOG_LINES, help=f"number of lines (default: {_LOG_LINES})")
    return parser


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"'{text}' is not a port: 0 (any) to 65535")
    return int(text)


def _scale(text: str) -> float:
    try:
        scale = float(text)
    except ValueError:
        scale = 0.0
    if not (scale > 0 and math.isfinite(scale)):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number above 0")
    return scale


def _needs(_instance: Instance, _options: argparse.Namespace) -> None:
    ensure(lifecycle.TOOLS, say=print)
    print("all dependencies of the sandbox are installed")


def _up(instance: Instance, options: argparse.Namespace) -> None:
    ensure(lifecycle.TOOLS, say=print)
    given = {name: getattr(options, name) for name in ("port", "time_scale", "user")}
    requested = {name: value for name, value in given.items() if value is not None}
    lifecycle.start(instance, msgspec.structs.replace(read_settings(instance), **requested))
    _status(instance, options)


def _down(instance: Instance, _options: argparse.Namespace) -> None:
    print("stopped" if lifecycle.stop(instance) else f"no sandbox runs in {instance.root}")


def _status(instance: Instance, _options: argparse.Namespace) -> int:
    pid = lifecycle.running_pid(instance)
    if pid is None:
        print(f"no sandbox runs in {instance.root}")
        return 1
    settings = read_settings(instance)
    print(f"sandbox runs: pid {pid}, gateway http://127.0.0.1:{settings.port}, state {instance.root}")
    for line in _inventory(instance, settings):
        print(f"  {line}")
    health = lifecycle.health(instance)
    print(health.rights)
    for warning in health.warnings:
        print(f"warning: {warning}")
    return 0


def _inventory(instance: Instance, settings: Settings) -> Sequence[str]:
    storage = f"{settings.storage_account}.{{blob,queue,table}}.core.windows.net"
    rows = [("Microsoft.Storage/storageAccounts", settings.storage_account, storage)]
    rows += sorted((r.type, r.name, r.address) for r in lifecycle.resources(instance))
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return [f"{kind:<{widths[0]}}  {name:<{widths[1]}}  {address}".rstrip() for kind, name, address in rows]


def _env(instance: Instance, options: argparse.Namespace) -> None:
    environment = lifecycle.client_environment(instance)
    if options.json:
        print(json.dumps(environment, indent=2))
    else:
        print("\n".join(f"export {name}={shlex.quote(value)}" for name, value in environment.items()))


def _logs(instance: Instance, options: argparse.Namespace) -> None:
    if options.name:
        print(lifecycle.log_end(instance, options.name, options.lines))
        return
    print(instance.root / "logs")
    for name in lifecycle.log_names(instance):
        print(f"  {name}")


if __name__ == "__main__":
    sys.exit(main())
