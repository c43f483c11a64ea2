"""`python -m sandbox.yardstick.document`: both lists of commands and their verdicts, as Markdown.

The verdicts are those that the lists give; `make yardstick` fails if the real `az` gets another one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from sandbox.yardstick.azure_cli import VERSION
from sandbox.yardstick.measure import Verdict, expected, summary
from sandbox.yardstick.walkthrough import ARTICLE, BEYOND, Command, Walkthrough, load_walkthrough

_HEAD = f"""\
# Azure CLI commands that work against the sandbox

Generated from `sandbox/yardstick/article.toml` and `sandbox/yardstick/beyond.toml` (`make az-table`); do not
edit. `make yardstick` runs every command with the real Azure CLI {VERSION} and fails if one does not do what this page
says. `$NAME` is a variable of the list, or the output of an earlier command.

- **yes**: exit code 0, and the output is as expected.
- **refuses**: az fails, as it does against Azure: a lock, a firewall, a wrong password.
- **not there**: the sandbox does not have it, and says so in a sentence that az shows.
- **az bug**: az fails by itself, before it has sent anything.
"""
_WORDS = {Verdict.REFUSED: "not there", Verdict.AZ_BUG: "az bug"}


def render() -> str:
    """The whole page; the same lists always result in the same text."""
    lists = (("The article", ARTICLE), ("Beyond the article", BEYOND))
    return "\n".join([_HEAD, *(line for title, file in lists for line in _section(title, load_walkthrough(file)))])


def _section(title: str, walkthrough: Walkthrough) -> Iterator[str]:
    counted = [command for command in walkthrough.command if not command.extra]
    yield from (f"## {title}", "", f"{summary((one, expected(one)) for one in counted)}.", "")
    yield from ("| command | works |", "|---|---|")
    for command in counted:
        yield f"| `az {command.run.replace('|', chr(92) + '|')}` | {_word(command)} |"
    yield ""


def _word(command: Command) -> str:
    return "refuses" if command.fails else _WORDS.get(expected(command), "yes")


if __name__ == "__main__":
    sys.stdout.write(render())
