"""The table of acr-builder's behaviours, and that a row which the sandbox does not do fails."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox.conformance.probes import PROBES
from sandbox.conformance.table import Result, Row, Verdict, play, read_rows

ROWS = read_rows()
README = Path(__file__).parents[1] / "README.md"
FEWEST_ROWS, AGREEING_PERCENT = 217, 94
SAMPLE_FILES, SAMPLES_THAT_RUN = 22, 20


def played(row: Row) -> Result:
    return play(row, PROBES[row.probe])


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.area}/{row.id}")
def test_the_sandbox_does_what_acr_builder_does_or_refuses_it_by_name(row: Row) -> None:
    result = played(row)
    assert result.verdict is (Verdict.REFUSED if row.refuses else Verdict.AGREES), result.seen


def test_the_table_is_long_and_few_of_its_rows_are_refused() -> None:
    agreeing = [row for row in ROWS if not row.refuses]
    assert len(ROWS) >= FEWEST_ROWS
    assert len(agreeing) * 100 >= AGREEING_PERCENT * len(ROWS)
    assert all(row.source and row.what for row in ROWS)


def test_the_features_of_azure_s_sample_task_files_run_to_their_end() -> None:
    samples = [row for row in ROWS if row.area == "samples"]
    assert len({row.source for row in samples}) == len(samples) == SAMPLE_FILES
    assert all(row.probe == "run" and row.expect["status"] == "Succeeded" for row in samples)
    assert sum(not row.refuses for row in samples) >= SAMPLES_THAT_RUN


ROW = Row(area="x", id="x", what="x", source="x", input="steps:\n- cmd: x", expect={"steps": {"0": {"run": "x"}}})


@pytest.mark.parametrize(
    "row",
    [
        replace(ROW, expect={"steps": {"0": {"run": "y"}}}),
        replace(ROW, expect={"steps": {"1": {"run": "x"}}}),
        replace(ROW, expect={"version": {"exactly": "v1.1.0"}}),
        replace(ROW, expect={"warnings": {"includes": ["colour"]}}),
        replace(ROW, expect={}, fails="a step needs"),
        replace(ROW, expect={}, fails="not YAML", input="steps:\n- id: a"),
        replace(ROW, input="steps:\n- id: a"),
        replace(ROW, input="steps:\n- id: a", refuses="something else"),
    ],
)
def test_a_row_that_the_sandbox_does_not_do_differs(row: Row) -> None:
    assert played(ROW).verdict is Verdict.AGREES
    assert played(row).verdict is Verdict.DIFFERS


def test_a_row_that_fails_agrees_only_with_the_refusal_that_it_names() -> None:
    row = replace(ROW, expect={}, input="steps:\n- id: a", fails="a step needs build, push or cmd")
    assert played(row).verdict is Verdict.AGREES


def test_a_refusal_counts_only_if_the_row_names_it() -> None:
    row = replace(ROW, input="steps:\n- cmd: x\n  privileged: true")
    assert played(row).verdict is Verdict.DIFFERS
    assert played(replace(row, refuses="privileged is refused here")).verdict is Verdict.REFUSED


def test_rows_are_read_strictly(tmp_path: Path) -> None:
    row = '[[row]]\nid = "a"\nwhat = "x"\nsource = "x"\ninput = ""\n'
    for text, fault in (
        (row, "or expect something"),
        (row + "fails = true\n", "fail with words that say why"),
        (row + 'fails = "x"\n' + row + 'fails = "x"\n', "twice"),
    ):
        (tmp_path / "area.toml").write_text(text)
        with pytest.raises(ValueError, match=fault):
            read_rows(tmp_path)


def test_the_command_ends_with_how_many_agree() -> None:
    done = subprocess.run([sys.executable, "-m", "sandbox.conformance"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    agreeing = sum(not row.refuses for row in ROWS)
    last = f"{agreeing} of {len(ROWS)} agree"
    assert done.stdout.splitlines()[-1] == last
    assert f"    {last}\n" in README.read_text()
    assert sum(line.startswith("refused ") for line in done.stdout.splitlines()) == len(ROWS) - agreeing
