"""`python -m tests.fuzz [--seconds N] [TARGET ...]`: fuzz each target by coverage, two at a time, and print findings.

Sources: https://github.com/google/atheris and
https://hypothesis.readthedocs.io/en/latest/how-to/external-fuzzers.html
"""

from __future__ import annotations

import argparse
import random
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.fuzz.corpus import packed, read_corpus, unpack, write_corpus

AT_ONCE = 2
_RUNS = re.compile(r"(?:Done |stat::number_of_executed_units:\s*)(\d+)")
_LIMITS = ("-max_len=4096", "-len_control=0", "-timeout=20", "-verbosity=0")
_SEEDS = 64


def drive(name: str, arguments: list[str]) -> None:
    """Fuzz one target with atheris in this process; it exits the process."""
    import atheris

    with atheris.instrument_imports(include=["shared", "functions"]):
        from tests.fuzz.targets import TARGETS

    fuzz: object = TARGETS[name].hypothesis.fuzz_one_input  # type: ignore[attr-defined]
    # To merge, libFuzzer starts itself again: it passes its program name to a shell.
    itself = f"{sys.executable} -m tests.fuzz --drive {name}"
    atheris.Setup([itself, *arguments], fuzz)
    atheris.Fuzz()


def fuzz(name: str, seconds: int, found: Path) -> tuple[int, str]:
    """Fuzz one target; returns the number of inputs, and the problem if it failed. The corpus gets new coverage."""
    start, fresh, merged = found / "start" / name, found / "fresh" / name, found / "merged" / name
    for folder in (fresh, merged):
        folder.mkdir(parents=True)
    unpack([*read_corpus(name), *_seeds()], start)
    artifacts = f"-artifact_prefix={found}/{name}-"
    run = _python(
        name, *_LIMITS, f"-max_total_time={seconds}", "-print_final_stats=1", artifacts, str(fresh), str(start)
    )
    runs = sum(int(number) for number in _RUNS.findall(run.stderr)[-1:])
    merge = _python(name, "-merge=1", "-set_cover_merge=1", *_LIMITS, str(merged), str(start), str(fresh))
    inputs = packed(merged)
    if merge.returncode or not inputs:
        return runs, f"{run.stderr[-6000:]}\nthe corpus was not merged:\n{merge.stderr[-6000:]}"
    write_corpus(name, inputs)
    return runs, "" if run.returncode == 0 else f"{run.stderr[-6000:]}\nended with {run.returncode}"


def _seeds() -> list[bytes]:
    """Noise that is long enough for Hypothesis to generate all arguments: libFuzzer begins with a byte or two."""
    noise = random.Random(0)
    return [noise.randbytes(64 << (number % 7)) for number in range(_SEEDS)]


def _python(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--drive", name, *arguments],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )


def main() -> int:
    """Fuzz for a time; returns 1 if a target failed."""
    if sys.argv[1:2] == ["--drive"]:
        drive(sys.argv[2], sys.argv[3:])
        return 0
    from tests.fuzz.targets import TARGETS

    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", help=f"of {', '.join(TARGETS)} (default: all)")
    parser.add_argument("--seconds", type=int, default=3600, help="for all targets together, two at a time")
    options = parser.parse_args()
    names = options.targets or list(TARGETS)
    each = max(1, options.seconds // -(-len(names) // AT_ONCE))
    found = Path(tempfile.mkdtemp(prefix="basegate-fuzz-"))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        results = list(pool.map(lambda name: fuzz(name, each, found), names))
    for name, (_, problem) in zip(names, results, strict=True):
        if problem:
            print(f"--- {name} (input: {found}/{name}-*)\n{problem}")
    findings = sum(1 for _, problem in results if problem)
    print(f"{len(names)} targets, {sum(runs for runs, _ in results)} inputs, {each} s each, {findings} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
