"""`python -m tests.mutants [WORD ...]`: plant each known bug into the product, and check that its tests fail."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.mutants.known import KNOWN, Mutant
from tests.mutants.planting import mutated, plant

AT_ONCE = 2
TIME_LIMIT_SECONDS = 120
BASELINE_LIMIT_SECONDS = 300
_FAILED = 1
_NO_PYTHON = 99
_HUNG = -9


class _Listener:
    """Hears whether tests failed on the bug, or on a name that it made up: such a bug would prove nothing."""

    def __init__(self) -> None:
        self.is_broken = False

    def pytest_exception_interact(self, call: pytest.CallInfo[object]) -> None:
        if call.excinfo is not None and isinstance(call.excinfo.value, NameError | ImportError | SyntaxError):
            self.is_broken = True


class _Running(NamedTuple):
    mutant: Mutant | None
    tests: Sequence[str]
    process: BaseProcess
    said: Path
    until: float


def _play(mutant: Mutant | None, tests: Sequence[str], said: Path) -> None:
    """Run tests in this process, which was made for it, on a product with the bug in it; exits with pytest's code."""
    sys.dont_write_bytecode = True
    with said.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    if mutant is not None:
        plant(mutant)
    listener = _Listener()
    code = int(pytest.main(["-q", "-x", "-p", "no:cacheprovider", *tests], plugins=[listener]))
    sys.exit(_NO_PYTHON if listener.is_broken else code)


def _begin(mutant: Mutant | None, tests: Sequence[str], said: Path) -> _Running:
    limit = TIME_LIMIT_SECONDS if mutant else BASELINE_LIMIT_SECONDS
    process = multiprocessing.get_context("fork").Process(target=_play, args=(mutant, tests, said))
    process.start()
    return _Running(mutant, tests, process, said, time.monotonic() + limit)


def _play_all(
    plays: Sequence[tuple[Mutant | None, Sequence[str]]], folder: Path
) -> Iterator[tuple[Mutant | None, int, str]]:
    """Play two at a time, each in a process of its own: the bug, how its tests ended, and what they said."""
    waiting, running = list(enumerate(plays)), list[_Running]()
    while waiting or running:
        while waiting and len(running) < AT_ONCE:
            number, (mutant, tests) = waiting.pop(0)
            running.append(_begin(mutant, tests, folder / f"{number}.txt"))
        wait([one.process.sentinel for one in running], 1)
        for one in [one for one in running if not one.process.is_alive() or time.monotonic() > one.until]:
            ended = not one.process.is_alive()
            one.process.kill()
            one.process.join()
            running.remove(one)
            code = one.process.exitcode if ended else _HUNG
            yield one.mutant, _HUNG if code is None else code, one.said.read_text(errors="replace")


def problem_of(mutant: Mutant, code: int, said: str) -> str:
    """Why a bug was not caught, "" where a test failed on it."""
    if code == _FAILED or (code == _HUNG and mutant.hangs):
        return ""
    if code == 0:
        return f"no test failed of {', '.join(mutant.tests)}"
    if code == _HUNG:
        return f"its tests did not end within {TIME_LIMIT_SECONDS} s, and the list does not say that it hangs"
    return f"its tests broke: {said[-800:]}"


def main() -> int:
    """Try the bugs; 1 where one survives, or where a test fails without one."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("words", nargs="*", help="only bugs whose names have all of these words")
    words = parser.parse_args().words
    wanted = [mutant for mutant in KNOWN if all(word in mutant.name for word in words)]
    for mutant in wanted:
        mutated(mutant)
    tests = sorted({test for mutant in wanted for test in mutant.tests})
    with tempfile.TemporaryDirectory(prefix="basegate-mutants-") as folder:
        for _, code, said in _play_all([(None, tests)], Path(folder)):
            if code != 0:
                print(f"the tests fail without a bug, so they prove nothing:\n{said[-3000:]}")
                return 1
        survived = 0
        for played, code, said in _play_all([(mutant, mutant.tests) for mutant in wanted], Path(folder)):
            assert played is not None  # only the first run is without a bug
            if problem := problem_of(played, code, said):
                survived += 1
                print(f"survived: {played.name}: {problem}", flush=True)
    print(f"{len(wanted) - survived} of {len(wanted)} caught")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
