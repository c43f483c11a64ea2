"""The arguments and options that several commands share."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

Json = Annotated[bool, typer.Option("--json", help="Print the interface's JSON as it comes.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is recorded with what is done.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it without asking; needed where there is no terminal.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=100, help="How many at most.")]
Token = Annotated[str, typer.Option("--token", help="Go on where an earlier page ended.")]
State = Annotated[str, typer.Option("--state", help="Only those in this state, `failed` for one.")]
Since = Annotated[str, typer.Option("--since", help="Only since this time: 2026-03-01T12:00:00Z.")]
Before = Annotated[str, typer.Option("--until", help="Only before this time.")]
Until = Annotated[
    Literal["lifted", "newer"], typer.Option("--until", help="How long it holds: until lifted, or a newer one passes.")
]

CandidateId = Annotated[str, typer.Argument(metavar="CANDIDATE", help="<gate>.<12 digits of the digest>[-<attempt>]")]
RecordId = Annotated[str, typer.Argument(metavar="ID", help="A candidate or a rollout.")]
Gate = Annotated[str, typer.Argument(metavar="GATE")]
Tag = Annotated[str, typer.Argument(metavar="TAG")]
To = Annotated[str, typer.Argument(metavar="TO", help="A unique tag or a digest.")]
Digest = Annotated[str, typer.Argument(metavar="DIGEST")]
RollBack = Annotated[
    bool, typer.Option("--rollback", help="Roll back the stable tags that stand on it, and hold them.")
]
HoldAll = Annotated[
    bool, typer.Option("--hold-all", help="Hold the stable tags on which the ledger agrees, too: it is an old one.")
]
BackTo = Annotated[str, typer.Option("--to", help="Roll back to this unique tag or digest.")]
Image = Annotated[
    str, typer.Option("--image", help="Deploy this tag or digest, which was built before, and build none.")
]
App = Annotated[str, typer.Argument(metavar="APP")]
