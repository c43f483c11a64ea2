"""`python -m sandbox.scanner IMAGE`: scan an image with `osv-match`, a stand-in for a scanner.

The command line is also that of `trivy image`, as far as it goes, so that a task that runs Trivy runs this too.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path

from sandbox.scanner.advisories import Advisories
from sandbox.scanner.errors import ScanError
from sandbox.scanner.image import Image, opened
from sandbox.scanner.layers import read_files
from sandbox.scanner.packages import DATABASES, inventory_of, tells_of_packages
from sandbox.scanner.registry import pulled
from sandbox.scanner.report import NAME, VERSION, make_report, summary

_ADVISORIES = Path(__file__).parent / "advisories"
_DESCRIPTION = f"{NAME} {VERSION}: a stand-in for a scanner. It knows the advisories of one folder, and nothing else."


def main(arguments: Sequence[str] | None = None) -> int:
    """Scan an image; 0: the report is written, whatever it says; 1: it is not."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(given[1:] if given[:1] == ["image"] else given)
    try:
        advisories = Advisories.load(options.advisories)
        with _image(options.image, options.platform) as image:
            inventory = inventory_of(read_files(image.layers, tells_of_packages, DATABASES))
            report = make_report(image, inventory, advisories, now=datetime.now(UTC))
        text = json.dumps(report, indent=2) + "\n"
        if options.output:
            options.output.write_text(text)
        else:
            sys.stdout.write(text)
    except (ScanError, OSError) as error:
        print(f"{NAME}: error: {error}", file=sys.stderr)
        return 1
    print(f"{NAME}: {summary(report)}", file=sys.stderr)
    return 0


def _image(name: str, platform: str) -> AbstractContextManager[Image]:
    path = Path(name)
    return opened(path, platform) if path.exists() else pulled(name, platform)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=NAME, description=_DESCRIPTION)
    parser.add_argument("image", help="an archive, an OCI layout, or the full name of an image in a registry")
    parser.add_argument("--advisories", type=Path, default=_ADVISORIES, help="a folder of advisories in OSV's format")
    parser.add_argument("--format", choices=("trivy", "json"), default="trivy", help="both are the JSON of Trivy")
    parser.add_argument("--output", type=Path, help="where to write the report (standard output)")
    parser.add_argument("--platform", default="linux/amd64", help="which image of an index (linux/amd64)")
    parser.add_argument("--scanners", choices=("vuln",), default="vuln", help="there is one")
    parser.add_argument("--quiet", "--no-progress", action="store_true", help="accepted: there is no progress")
    return parser


if __name__ == "__main__":
    sys.exit(main())
