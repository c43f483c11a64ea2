"""The yardstick: its lists, its verdicts, and the page that says which commands work."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.yardstick import document
from sandbox.yardstick.azure_cli import AzureCli, Outcome
from sandbox.yardstick.measure import Verdict, expected, play, row, summary
from sandbox.yardstick.walkthrough import ARTICLE, BEYOND, Command, Walkthrough, load_walkthrough

PAGE = Path(__file__).parents[2] / "docs" / "azure-cli.md"


class ScriptedCli(AzureCli):
    """An `az` that answers with the outcomes it is given."""

    def __init__(self, *outcomes: Outcome) -> None:
        self._outcomes = list(outcomes)
        self.asked: list[list[str]] = []

    def run(self, arguments: object, seconds: float = 60) -> Outcome:
        assert isinstance(arguments, list)
        self.asked.append(arguments)
        return self._outcomes.pop(0)


def done(output: str = "") -> Outcome:
    return Outcome(0, 1.0, output, "")


def failed(errors: str) -> Outcome:
    return Outcome(1, 1.0, "", f"WARNING: a-password\nERROR: {errors}\n")


def verdict(command: Command, outcome: Outcome) -> tuple[Verdict, str]:
    (measured,) = play(Walkthrough(variables={}, command=[command]), ScriptedCli(outcome))
    return measured.verdict, measured.reason


def test_the_page_in_the_repository_is_what_the_lists_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == document.render(), "run `make az-table`"


def test_beyond_the_article_there_are_at_least_eighty_commands_that_it_does_not_have() -> None:
    article = {command.run.partition("--")[0] for command in load_walkthrough(ARTICLE).command}
    beyond = {command.run.partition("--")[0] for command in load_walkthrough(BEYOND).command}
    assert len(beyond - article) >= 80


@pytest.mark.parametrize("file", [ARTICLE, BEYOND], ids=lambda file: file.name)
def test_every_variable_of_a_list_is_given_or_kept_by_an_earlier_command(file: Path) -> None:
    walkthrough = load_walkthrough(file)
    known = {**walkthrough.variables, "FOLDER": "/folder"}
    for command in walkthrough.command:
        assert command.arguments(known)
        known[command.keep] = "kept"


def test_a_command_works_if_az_succeeds_with_the_expected_output() -> None:
    command = Command(run="acr list", expect="contoso")
    assert verdict(command, done("contoso")) == (Verdict.WORKS, "")
    assert verdict(command, done("fabrikam"))[0] is Verdict.FAILS
    assert verdict(command, failed("no")) == (Verdict.FAILS, "ERROR: no")


def test_a_command_that_has_to_fail_works_only_if_it_fails_so() -> None:
    command = Command(run="acr delete", fails="locked")
    assert verdict(command, failed("it is locked")) == (Verdict.WORKS, "")
    assert verdict(command, failed("timeout"))[0] is Verdict.FAILS
    assert verdict(command, done())[0] is Verdict.FAILS


def test_what_the_sandbox_refuses_is_a_verdict_of_its_own_with_its_sentence() -> None:
    command = Command(run="acr cache list", refused="The sandbox has no")
    assert verdict(command, failed("The sandbox has no cache rules")) == (
        Verdict.REFUSED,
        "ERROR: The sandbox has no cache rules",
    )
    assert verdict(command, failed("timeout"))[0] is Verdict.FAILS
    assert verdict(command, done())[0] is Verdict.FAILS
    assert expected(command) is Verdict.REFUSED


def test_a_bug_of_az_is_told_from_a_failure() -> None:
    command = Command(run="acr task update", az_bug="not serializable", note="why")
    assert verdict(command, failed("set is not serializable")) == (Verdict.AZ_BUG, "why")
    assert verdict(command, failed("timeout"))[0] is Verdict.FAILS


def test_an_output_is_kept_for_later_commands_and_never_shown() -> None:
    cli = ScriptedCli(done("a-secret\n"), done())
    commands = [Command(run="acr token create", keep="PASSWORD"), Command(run="keyvault secret set --value $PASSWORD")]
    rows = [row(measured) for measured in play(Walkthrough(variables={}, command=commands), cli)]
    assert cli.asked[1][-1] == "a-secret"
    assert not [line for line in rows if "a-secret" in line]
    assert "--value $PASSWORD" in rows[1]


def test_without_what_an_earlier_command_keeps_a_command_is_not_run() -> None:
    cli = ScriptedCli(failed("no"))
    commands = [Command(run="acr token create", keep="PASSWORD"), Command(run="keyvault secret set --value $PASSWORD")]
    _, second = play(Walkthrough(variables={}, command=commands), cli)
    assert (second.verdict, second.reason) == (Verdict.FAILS, "$PASSWORD is not set")


def test_the_summary_counts_the_commands_of_the_list_by_verdict() -> None:
    counted = [Command(run=name) for name in ("a", "b", "c")]
    verdicts = [*zip(counted, (Verdict.WORKS, Verdict.REFUSED, Verdict.AZ_BUG), strict=True)]
    verdicts.append((Command(run="d", extra=True), Verdict.FAILS))
    line = summary(verdicts)
    assert line.startswith("1 of 3 commands work; 1 are refused")
    assert line.endswith("1 cannot, because of a bug in az itself")
