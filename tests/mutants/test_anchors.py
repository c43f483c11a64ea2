"""The list of known bugs fits today's code: `make mutants` says whether each is caught, this that it can be planted."""

from __future__ import annotations

import ast

import pytest

from tests.mutants.known import KNOWN, Mutant
from tests.mutants.planting import ROOT, mutated


@pytest.mark.parametrize("mutant", KNOWN, ids=lambda mutant: mutant.name)
def test_each_known_bug_has_its_place_and_is_python(mutant: Mutant) -> None:
    text = mutated(mutant)
    compile(text, mutant.file, "exec", dont_inherit=True)
    assert mutant.old != mutant.new


@pytest.mark.parametrize("mutant", KNOWN, ids=lambda mutant: mutant.name)
def test_each_test_that_sees_a_known_bug_is_there(mutant: Mutant) -> None:
    assert mutant.tests
    for test in mutant.tests:
        file, _, name = test.partition("::")
        there = {node.name for node in ast.parse((ROOT / file).read_text()).body if isinstance(node, ast.FunctionDef)}
        assert not name or name in there


def test_the_known_bugs_are_many_and_none_is_listed_twice() -> None:
    assert len(KNOWN) >= 45
    assert len({mutant.name for mutant in KNOWN}) == len(KNOWN)
    assert len({(mutant.file, mutant.old, mutant.new) for mutant in KNOWN}) == len(KNOWN)
