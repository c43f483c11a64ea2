"""`python -m sandbox`: start, stop and look at a local Azure."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from sandbox import lifecycle
from sandbox.instance import Instance, read_settings
from sandbox.needs import NeedError, ensure


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    instance = Instance(Path(options.state).resolve())
    try:
        return int(options.run(instance, options) or 0)
    except (lifecycle.LifecycleError, NeedError) as error:
        print(f"sandbox: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=main.__doc__ and __doc__)
    parser.add_argument("--state", default=".sandbox", help="folder that holds everything (default: .sandbox)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    needs = commands.add_parser("needs", help="install what the sandbox needs on this machine, saying what")
    needs.set_defaults(run=_needs)
    up = commands.add_parser("up", help="start it in the background")
    up.add_argument("--port", type=int, default=None, help="the gateway's port (default: the last one, or any)")
    up.add_argument("--time-scale", type=float, default=None, help="divide Event Grid's retry times by this")
    up.set_defaults(run=_up)
    commands.add_parser("down", help="stop it; its state stays").set_defaults(run=_down)
    status = commands.add_parser("status", help="say whether it runs, and where")
    status.set_defaults(run=_status)
    env = commands.add_parser("env", help='print what a shell needs to reach it: eval "$(python -m sandbox env)"')
    env.add_argument("--json", action="store_true", help="as JSON")
    env.set_defaults(run=_env)
    return parser


def _needs(_instance: Instance, _options: argparse.Namespace) -> None:
    ensure(lifecycle.TOOLS, say=print)


def _up(instance: Instance, options: argparse.Namespace) -> None:
    ensure(lifecycle.TOOLS, say=print)
    settings = read_settings(instance)
    if options.port is not None:
        settings = msgspec.structs.replace(settings, port=options.port)
    if options.time_scale is not None:
        settings = msgspec.structs.replace(settings, time_scale=options.time_scale)
    lifecycle.start(instance, settings)
    _status(instance, options)


def _down(instance: Instance, _options: argparse.Namespace) -> None:
    print("stopped" if lifecycle.stop(instance) else f"no sandbox runs in {instance.root}")


def _status(instance: Instance, _options: argparse.Namespace) -> int:
    pid = lifecycle.running_pid(instance)
    if pid is None:
        print(f"no sandbox runs in {instance.root}")
        return 1
    print(f"sandbox runs: pid {pid}, gateway http://127.0.0.1:{read_settings(instance).port}, state {instance.root}")
    return 0


def _env(instance: Instance, options: argparse.Namespace) -> None:
    environment = lifecycle.client_environment(instance)
    if options.json:
        print(json.dumps(environment, indent=2))
    else:
        print("\n".join(f"export {name}={shlex.quote(value)}" for name, value in environment.items()))


if __name__ == "__main__":
    sys.exit(main())
