"""`python -m tests.spec_examples`: send Azure's examples to a sandbox; prints what is invalid or refused.

0 if nothing is invalid, 2 where there is no clone of the specifications or no sandbox can be.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

from sandbox.testing import Sandbox, unavailable
from tests.contract.specs import CLONE, Specifications, specifications_folder
from tests.spec_examples.client import Client
from tests.spec_examples.judging import Judged, Verdict, summary
from tests.spec_examples.playing import Player
from tests.spec_examples.reading import read_examples
from tests.spec_examples.world import World

_REPOSITORY = "https://github.com/Azure/azure-rest-api-specs"
_REVISION = "cbbe228fd422db02b65e2748f83df5f2bcad7581"
_FOLDERS = ("common-types", "containerinstance", "containerregistry", "eventgrid", "keyvault")


def main() -> int:
    """Play every example in a sandbox of its own."""
    options = argparse.ArgumentParser(prog="python -m tests.spec_examples", description=__doc__)
    options.add_argument("--specs", type=Path, help="a clone of Azure/azure-rest-api-specs")
    options.add_argument("--all", action="store_true", help="send what is left out, too: it is refused")
    chosen = options.parse_args()
    given = chosen.specs
    folder = given / "specification" if given else specifications_folder()
    if folder is None or not folder.is_dir():
        print(_how_to_clone(), file=sys.stderr)
        return 2
    if reason := unavailable():
        print(f"There can be no sandbox here: {reason}", file=sys.stderr)
        return 2
    sandbox = Sandbox(Path(tempfile.mkdtemp(prefix="spec-examples-")))
    try:
        sandbox.start()
        os.environ.update(sandbox.environment)
        judged = _play(sandbox, folder, everything=chosen.all)
    finally:
        sandbox.erase()
    print(summary(judged))
    return 1 if any(one.verdict is Verdict.INVALID for one in judged) else 0


def _play(sandbox: Sandbox, folder: Path, *, everything: bool) -> list[Judged]:
    client = Client()
    try:
        world = World(sandbox, client)
        judged = []
        examples = list(read_examples(folder, world.services))
        left_out = Counter(world.why_left_out(one.title) for one in examples if not everything)
        sent = [one for one in examples if everything or not world.why_left_out(one.title)]
        for one in Player(world, client, Specifications(folder)).play(sent):
            judged.append(one)
            if one.verdict is not Verdict.FITS:
                print(one.line(), flush=True)
        for why, number in left_out.items():
            if why:
                print(f"left out {number} examples: {why}")
        return judged
    finally:
        client.close()


def _how_to_clone() -> str:
    folders = " ".join(f"specification/{name}" for name in _FOLDERS)
    return f"""The examples are in a clone of {_REPOSITORY}, which is not here. Make one with

  git init {CLONE}
  git -C {CLONE} remote add origin {_REPOSITORY}
  git -C {CLONE} sparse-checkout set {folders}
  git -C {CLONE} fetch --depth 1 --filter=blob:none origin {_REVISION}
  git -C {CLONE} checkout FETCH_HEAD

or name the folder of another one: SPECS=FOLDER (--specs FOLDER, AZURE_REST_API_SPECS=FOLDER). Later revisions have
moved files; this is the one that the examples were chosen from."""


if __name__ == "__main__":
    sys.exit(main())
