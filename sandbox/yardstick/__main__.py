"""`python -m sandbox.yardstick`: run both lists of commands with the real `az` against a running sandbox."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import msgspec

from sandbox.testing import Sandbox, SandboxError
from sandbox.yardstick.azure_cli import VERSION, AzureCli, install
from sandbox.yardstick.measure import expected, header, play, row, summary
from sandbox.yardstick.walkthrough import ARTICLE, BEYOND, Walkthrough, load_walkthrough

_ROOT = Path(__file__).parents[2]
_CLI_FOLDER = _ROOT / ".tools" / "azure-cli"
_SITE = "gate-hooks"
_SOURCES = ("base-image-node", "hello-world", "import-baseimage-node")


def main() -> int:
    """Install the CLI if needed, sign in, run the commands, print the tables; 0 if each does what its list says."""
    options = _options()
    if install(_CLI_FOLDER):
        print(f"Installed azure-cli {VERSION} into {_CLI_FOLDER}")
    if options.install:
        return 0
    sandbox = Sandbox(Path(options.state))
    try:
        environment = {**os.environ, **sandbox.environment}
        _prepare(sandbox)
    except SandboxError as error:
        print(f"The yardstick needs a running sandbox: {error}", file=sys.stderr)
        return 2
    chosen = dict(pair.split("=", 1) for pair in options.set)
    with tempfile.TemporaryDirectory(prefix="yardstick-") as folder:
        cli = AzureCli(_CLI_FOLDER, Path(folder), environment)
        signed_in = cli.run(["login", "--identity"])
        if signed_in.code:
            print(f"az login --identity failed: {signed_in.errors}", file=sys.stderr)
            return 2
        code = 0
        for file in options.commands or (ARTICLE, BEYOND):
            walkthrough = load_walkthrough(file)
            variables = {**walkthrough.variables, "FOLDER": folder, **chosen}
            code = max(code, _measure(msgspec.structs.replace(walkthrough, variables=variables), cli))
        return code


def _prepare(sandbox: Sandbox) -> None:
    """Create what no `az` command creates: repositories, and a function app."""
    for name in _SOURCES:
        sandbox.create_repository(f"contoso/{name}", _ROOT / "samples" / name)
    sandbox.start_site(_SITE, Path(__file__).with_name("site"), {})


def _measure(walkthrough: Walkthrough, cli: AzureCli) -> int:
    print(header())
    played = []
    for measured in play(walkthrough, cli):
        played.append(measured)
        print(row(measured), flush=True)
        if measured.reason:
            print(f"    {measured.reason}", flush=True)
    print(f"\n{summary((measured.command, measured.verdict) for measured in played)}\n")
    return 1 if any(measured.verdict is not expected(measured.command) for measured in played) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sandbox.yardstick", description=__doc__)
    parser.add_argument("--install", action="store_true", help="only install the Azure CLI")
    parser.add_argument("--state", default=".sandbox", help="state folder of the sandbox (default: .sandbox)")
    parser.add_argument("--commands", type=Path, action="append", help="a list of commands (article.toml, beyond.toml)")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="override a variable")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
