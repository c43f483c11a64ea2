"""Which base images ACR Tasks records for a build: Dockerfiles, what is recorded, and the source of each row.

The sources are functions and tests of https://github.com/Azure/acr-builder, in `scan/` unless they name a folder, and
issues of https://github.com/Azure/acr.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from sandbox.tasks.outcome import ImageReference
from sandbox.tasks.runner.dockerfile import BuildLine, ScanError, read_build_line, scan
from sandbox.tasks.runner.references import DOCKER_HUB, InvalidReference, read_reference, with_tag
from sandbox.tasks.runner.stages import used_images
from sandbox.tasks.runner.unseen import explained, unscanned_bases, unseen_bases

_RESOLVE = "dependencies.go, resolveDockerfileDependencies"
_RESOLVE_TEST = "dependencies_test.go, TestResolveDockerfileDependencies"
_NEW = "dependencies.go, NewImageDependencies"
_NORMALIZE = "util/prefixes.go, NormalizeImageTag"
_EXPAND = f"{_RESOLVE}: Go's os.Expand"
_DIGEST = "sha256:" + "a" * 64


@dataclass(frozen=True)
class Row:
    """A Dockerfile and the value of `build`, with what ACR records: the runtime base, then the build-time ones."""

    why: str
    dockerfile: str
    recorded: tuple[str, ...]
    source: str
    build: str = "."


ROWS = [
    Row("a name with a tag", "FROM node:15\n", ("node:15",), _RESOLVE),
    Row("a name without a tag", "FROM node\n", ("node:latest",), _NORMALIZE),
    Row("a digest gets no tag", f"FROM node@{_DIGEST}", (f"node@{_DIGEST}",), _NORMALIZE),
    Row("a tag and a digest", f"FROM node:15@{_DIGEST}", (f"node:15@{_DIGEST}",), _NORMALIZE),
    Row("a port counts as a tag", "FROM localhost:5000/node", ("localhost:5000/node",), _NORMALIZE),
    Row("scratch is recorded, with a tag", "FROM scratch\n", ("scratch:latest",), f"{_RESOLVE_TEST}_WithBOM"),
    Row(
        "a byte order mark is dropped",
        "\ufeffFROM go:1 AS build\nFROM scratch\n",
        ("scratch:latest", "go:1"),
        f"{_RESOLVE_TEST}_WithBOM",
    ),
    Row("another one is not", "\n\ufeffFROM go:1\nFROM node:15\n", ("node:15",), _RESOLVE),
    Row("instructions in any case, indented", "  from node:15\r\n", ("node:15",), _RESOLVE),
    Row("double quotes are dropped", 'FROM "node:15"\n', ("node:15",), "Azure/acr-builder issue 529"),
    Row("single quotes are dropped", "FROM 'node:15' AS app\n", ("node:15",), "Azure/acr-builder issue 529"),
    Row("comments are skipped", "# FROM go:1\nFROM node:15\n  # FROM go:2\n", ("node:15",), _RESOLVE),
    Row("what follows a stage's name is ignored", "FROM node:15 AS app and more\n", ("node:15",), _RESOLVE),
    # stages
    Row(
        "stages are followed to their bases",
        "FROM go:1 AS tools\nFROM tools AS more\nFROM node:15 AS app\nFROM more AS last\n",
        ("go:1", "node:15"),
        _RESOLVE_TEST,
    ),
    Row("a stage's name in another case is an image", "FROM go:1 AS App\nFROM app\n", ("app:latest", "go:1"), _RESOLVE),
    Row("a stage of the name of an image hides it", "FROM go:1 AS node\nFROM node\n", ("go:1",), _RESOLVE),
    Row(
        "the stages after the target are not read",
        "FROM go:1 AS a\nFROM node:15 AS app\nFROM php:8 AS c\n",
        ("node:15", "go:1"),
        f"{_RESOLVE_TEST}_WithTarget",
        "--target app .",
    ),
    Row(
        "a target in quotes",
        "FROM node:15 AS app\nFROM php:8\n",
        ("node:15",),
        "builder/parse.go, parseDockerBuildCmd",
        "--target 'app' .",
    ),
    Row(
        "a target after an equals sign is not seen",
        "FROM node:15 AS app\nFROM php:8\n",
        ("php:8", "node:15"),
        "builder/parse.go, parseDockerBuildCmd",
        "--target=app .",
    ),
    Row(
        "a target in another case is not found",
        "FROM node:15 AS app\nFROM php:8\n",
        ("php:8", "node:15"),
        _RESOLVE,
        "--target APP .",
    ),
    Row(
        "a target by number is not found",
        "FROM node:15\nFROM php:8\n",
        ("php:8", "node:15"),
        _RESOLVE,
        "--target 0 .",
    ),
    Row("equal bases are recorded once", "FROM go:1 AS a\nFROM go:1 AS b\nFROM node:15\n", ("node:15", "go:1"), _NEW),
    Row(
        "build-time bases that differ in library/ and latest are recorded once",
        "FROM library/go AS a\nFROM go:latest AS b\nFROM node:15\n",
        ("node:15", "go:latest"),
        _NEW,
    ),
    Row(
        "the runtime base is compared as written",
        "FROM go AS a\nFROM go:latest\n",
        ("go:latest", "go:latest"),
        _RESOLVE,
    ),
    # arguments
    Row("a default", "ARG TAG=15\nFROM node:$TAG\n", ("node:15",), _RESOLVE_TEST),
    Row("a default in quotes", 'ARG TAG="15"\nFROM node:${TAG}\n', ("node:15",), _RESOLVE_TEST),
    Row("a build argument comes first", "ARG TAG=15\nFROM node:$TAG\n", ("node:16",), _RESOLVE, "--build-arg TAG=16 ."),
    Row(
        "a build argument in quotes of its value",
        "ARG TAG=15\nFROM node:$TAG\n",
        ("node:16",),
        "dependencies.go, parseAssignment",
        "--build-arg TAG='16' .",
    ),
    Row(
        "a build argument in quotes of its own is not seen",
        "ARG TAG=15\nFROM node:$TAG\n",
        ("node:15",),
        "util/parse.go, ParseBuildArgs",
        '--build-arg "TAG=16" .',
    ),
    Row(
        "a build argument after an equals sign is not seen",
        "ARG TAG=15\nFROM node:$TAG\n",
        ("node:15",),
        "util/parse.go, ParseBuildArgs",
        "--build-arg=TAG=16 .",
    ),
    Row(
        "the last of two equal build arguments",
        "ARG TAG\nFROM node:$TAG\n",
        ("node:17",),
        "dependencies.go, parseBuildArgs",
        "--build-arg TAG=16 --build-arg TAG=17 .",
    ),
    Row("the first of two equal ARGs", "ARG TAG=15\nARG TAG=16\nFROM node:$TAG\n", ("node:15",), _RESOLVE),
    Row(
        "an ARG after the first FROM counts for those that follow",
        "FROM go:1 AS a\nARG TAG=15\nFROM node:$TAG\n",
        ("node:15", "go:1"),
        _RESOLVE_TEST,
    ),
    Row(
        "a build argument that no ARG declares",
        "FROM node:$TAG\n",
        ("node:16",),
        _RESOLVE,
        "--build-arg TAG=16 .",
    ),
    Row("an undeclared ARG is empty", "FROM ${REGISTRY}node:15\n", ("node:15",), _EXPAND),
    Row("an ARG without a value is empty", "ARG REGISTRY\nFROM ${REGISTRY}node:15\n", ("node:15",), _EXPAND),
    Row("a default in the variable is not one", "FROM ${REGISTRY:-a.io/}node:15\n", ("node:15",), _EXPAND),
    Row("a special parameter is empty", "FROM node:1$1$?5\n", ("node:15",), _EXPAND),
    Row("an open brace is dropped", "ARG X=y\nFROM node:${X\n", ("node:X",), _EXPAND),
    Row("a lone dollar stays, here in a name of a stage", "FROM node:15 AS $\nFROM $\n", ("node:15",), _EXPAND),
    Row(
        "only the first of two assignments in a line",
        "ARG A=no B=15\nFROM ${A}de:1${B}5\n",
        ("node:15",),
        _RESOLVE,
    ),
    Row(
        "a default ends at its first space",
        'ARG NAME="node and more"\nFROM $NAME:15\n',
        ("node:15",),
        _RESOLVE,
    ),
    Row(
        "variables in names of stages stay as they are",
        "FROM go:1 AS $X\nFROM node:15\n",
        ("node:15", "go:1"),
        _RESOLVE,
    ),
    # what is no FROM of Docker's
    Row(
        "a heredoc is read like the rest",
        "FROM node:15\nRUN cat <<EOF >sql\nSELECT name\nFROM users\nEOF\n",
        ("users:latest", "node:15"),
        _RESOLVE,
    ),
    Row(
        "a continued line is read as a line of its own",
        "FROM node:15\nRUN echo SELECT name \\\n  FROM users\n",
        ("users:latest", "node:15"),
        _RESOLVE,
    ),
    Row("COPY --from is not read", "FROM node:15\nCOPY --from=php:8 /a /b\n", ("node:15",), _RESOLVE),
    Row(
        "nothing after a line of 64 KiB is read",
        f"FROM node:15\nRUN {'x' * 65_532}\nFROM php:8\n",
        ("node:15",),
        f"{_RESOLVE}: Go's bufio.Scanner",
    ),
    Row(
        "a line that is one byte shorter is read",
        f"FROM node:15\nRUN {'x' * 65_531}\nFROM php:8\n",
        ("php:8", "node:15"),
        f"{_RESOLVE}: Go's bufio.Scanner",
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.why)
def test_the_bases_that_acr_records_are_recorded(row: Row) -> None:
    bases = scan(row.dockerfile, read_build_line(row.build))
    assert (bases.runtime, *bases.buildtime) == row.recorded, row.source


@dataclass(frozen=True)
class Refused:
    """A Dockerfile and the value of `build` that fail in ACR: its message, the line, and what the hint says."""

    why: str
    dockerfile: str
    message: str
    line: int
    source: str
    build: str = "."
    hint: str = "plainly"


_INVALID = "Failed to parse image reference, ensure tags have a valid format: "
REFUSED = [
    Refused(
        "FROM --platform",
        "ARG A=1\nFROM --platform=$BUILDPLATFORM node:15 AS build\n",
        "unable to understand line FROM --platform=$BUILDPLATFORM node:15 AS build",
        2,
        "Azure/acr issue 697",
        hint="https://github.com/Azure/acr/issues/697",
    ),
    Refused(
        "FROM --platform without a name of the stage",
        "FROM --platform=linux/amd64 node:15",
        "unable to understand line FROM --platform=linux/amd64 node:15",
        1,
        "Azure/acr-builder issue 449",
        hint="`--platform` to the build",
    ),
    Refused("FROM alone", "FROM\n", "unable to understand line FROM", 1, _RESOLVE),
    Refused("three words", "FROM node:15 app\n", "unable to understand line FROM node:15 app", 1, _RESOLVE),
    Refused("no name after AS", "FROM node:15 AS\n", "unable to understand line FROM node:15 AS", 1, _RESOLVE),
    Refused(
        "ARG alone",
        "ARG\nFROM node:15\n",
        "dockerfile syntax requires ARG directive to have exactly 1 argument. LINE: ARG",
        1,
        _RESOLVE,
        hint="begin the line with something else",
    ),
    Refused("no FROM", "RUN true\n", "unexpected dockerfile format", 0, _RESOLVE, hint="has no FROM"),
    Refused("an empty file", "", "unexpected dockerfile format", 0, _RESOLVE, hint="has no FROM"),
    Refused(
        "an import in a heredoc",
        "FROM node:15\nRUN python3 - <<EOF\nfrom os import path\nEOF\n",
        "unable to understand line from os import path",
        3,
        _RESOLVE,
        hint="begin the line with something else",
    ),
    Refused(
        "a name on a continued line",
        "FROM \\\n  node:15\n",
        rf"{_INVALID}\:latest: invalid reference format",
        1,
        _RESOLVE,
    ),
    Refused(
        "a default in the variable that leaves nothing",
        "FROM node:${TAG:-15}\n",
        f"{_INVALID}node:: invalid reference format",
        1,
        _EXPAND,
    ),
    Refused(
        "a variable of Docker's platforms",
        "FROM node:15 AS go-amd64\nFROM go-$TARGETARCH\n",
        f"{_INVALID}go-:latest: invalid reference format",
        2,
        _EXPAND,
    ),
    Refused(
        "a variable in the default of another",
        "ARG R=a.io\nARG IMAGE=$R/node\nFROM $IMAGE:15\n",
        f"{_INVALID}$R/node:15: invalid reference format",
        3,
        _EXPAND,
    ),
    Refused(
        "a stage's name in another case",
        "FROM go:1 AS app\nFROM App\n",
        f"{_INVALID}App:latest: repository name must be lowercase",
        2,
        _RESOLVE,
    ),
    Refused(
        "a digest that is too short",
        f"FROM node@{_DIGEST[:-1]}\n",
        f"{_INVALID}node@{_DIGEST[:-1]}: invalid checksum digest length",
        1,
        "dependencies.go, NewImageReference",
    ),
    Refused(
        "a tag of the image in quotes",
        "FROM node:15\n",
        f'{_INVALID}"app:1": invalid reference format',
        0,
        "util/parse.go, ParseTags",
        '-t "app:1" .',
        "",
    ),
    Refused(
        "a build argument without a value",
        "ARG TAG=15\nFROM node:$TAG\n",
        "TAG cannot be split into 2 tokens with '='",
        0,
        "dependencies.go, parseAssignment",
        "--build-arg TAG .",
        "Write --build-arg TAG=VALUE",
    ),
]


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row.why)
def test_what_acr_does_not_understand_fails_with_its_words_the_line_and_what_to_do(row: Refused) -> None:
    with pytest.raises(ScanError) as refused:
        scan(row.dockerfile, read_build_line(row.build))
    assert (str(refused.value), refused.value.line) == (row.message, row.line), row.source
    said = explained(refused.value, used_images(row.dockerfile, {}))
    assert row.hint in said
    assert f"Line {row.line} of" in said if row.line else "The Dockerfile, or the value of build," in said


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("-t a:1 -f x/Dockerfile src", BuildLine("x/Dockerfile", "src", "", ("a:1",))),
        ("--tag a:1 -t b:2 --file x .", BuildLine("x", ".", "", ("a:1", "b:2"))),
        ("-t $Registry/a:1 . -f x", BuildLine("x", ".", "", ("$Registry/a:1",))),
        ('-f "x" .', BuildLine("x")),
        ('-f "My Apps/Dockerfile" .', BuildLine("My")),  # Azure/acr issue 871
        ("--file=x --target=y --tag=a:1 --build-arg=A=1 src", BuildLine()),
        ("--no-cache src", BuildLine()),
        ("--no-cache -t a:1 src", BuildLine(context="src", tags=("a:1",))),
        ("--target a --build-arg A=1 --build-arg 'B=2 3' .", BuildLine("", ".", "a", (), ("A=1", "'B=2"))),
        ("", BuildLine()),
    ],
)
def test_the_value_of_build_is_split_at_white_space_as_acr_does(line: str, expected: BuildLine) -> None:
    assert read_build_line(line) == expected


def test_the_scanned_file_is_that_of_the_option_or_of_the_context() -> None:
    assert [read_build_line(line).scanned_file for line in ("-f a/b c", "c", ".")] == [
        "a/b",
        "c/Dockerfile",
        "Dockerfile",
    ]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("node:16", (DOCKER_HUB, "library/node", "16", "")),
        ("library/node:16", (DOCKER_HUB, "library/node", "16", "")),
        ("owner/app:1", (DOCKER_HUB, "owner/app", "1", "")),
        ("owner/team/app:1", (DOCKER_HUB, "owner/team/app", "1", "")),
        (f"{DOCKER_HUB}/owner/app:1", (DOCKER_HUB, "owner/app", "1", "")),
        ("contoso.azurecr.io/team/app:1", ("contoso.azurecr.io", "team/app", "1", "")),
        ("contoso.azurecr.io/app", ("contoso.azurecr.io", "app", "", "")),
        ("docker.io/node:16", ("docker.io", "node", "16", "")),
        ("localhost:5000/app:1", (DOCKER_HUB, "localhost:5000/app", "1", "")),
        ("my_owner/app:1", (DOCKER_HUB, "library/my_owner/app", "1", "")),
        (f"a.io/app:1@{_DIGEST}", ("a.io", "app", "1", _DIGEST)),
        (f"a.io/app@{_DIGEST}", ("a.io", "app", "", _DIGEST)),
        ("scratch:latest", (DOCKER_HUB, "library/scratch", "latest", "")),
    ],
)
def test_an_image_name_is_taken_apart_as_in_acr(name: str, expected: tuple[str, str, str, str]) -> None:
    assert read_reference(name) == ImageReference(*expected)  # dependencies_test.go, TestNewImageReference


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "invalid reference format"),
        ("node:", "invalid reference format"),
        ("Node:1", "repository name must be lowercase"),
        ("node:" + "x" * 129, "invalid reference format"),
        ("a/" * 130 + "b", "repository name must not be more than 255 characters"),
        ("node@sha256:" + "A" * 64, "invalid checksum digest format"),
        ("node@md5:" + "a" * 32, "unsupported digest algorithm"),
        ("node@sha256:" + "a" * 31, "invalid reference format"),
    ],
)
def test_an_invalid_image_name_is_refused_with_acrs_reason(name: str, reason: str) -> None:
    with pytest.raises(InvalidReference, match=f"{reason}$"):
        read_reference(name)


def test_a_name_of_many_parts_is_refused_at_once() -> None:
    with pytest.raises(InvalidReference):
        read_reference("a" * 100_000 + "!")


def test_a_tag_is_added_only_to_a_name_without_colon_and_digest() -> None:
    names = ("node", "node:1", "node@sha", "localhost:5000/node")
    assert [with_tag(name) for name in names] == ["node:latest", "node:1", "node@sha", "localhost:5000/node"]


@dataclass(frozen=True)
class Seen:
    """A Dockerfile, and what the log says of bases that ACR does not see. Nothing is said if `said` is empty."""

    why: str
    dockerfile: str
    said: tuple[tuple[str, ...], ...] = ()
    build: str = "."
    arguments: tuple[tuple[str, str], ...] = ()
    target: str = ""


SEEN = [
    Seen("plain names", "FROM go:1 AS a\nFROM node:15\nCOPY --from=a /a /b\nCOPY --from=0 /a /c\n"),
    Seen("a declared ARG", "ARG TAG=15\nFROM node:${TAG}\n", (), "--build-arg TAG=16 .", (("TAG", "16"),)),
    Seen("a stage in the same case, scratch", "FROM go:1 AS a\nFROM a AS b\nFROM scratch\n"),
    Seen("a digest", f"FROM node@{_DIGEST}\n"),
    Seen("Docker Hub by name", "FROM docker.io/library/node:15\n"),
    Seen(
        "the second of two equal ARGs",
        "ARG TAG=15\nARG TAG=16\nFROM node:$TAG\n",
        (("docker.io/library/node:16 (line 3 of the Dockerfile)", "reads node:15 there", "plainly"),),
    ),
    Seen(
        "a default in the variable",
        "FROM ${R:-base.azurecr.io/}node:15\n",
        (("base.azurecr.io/node:15 (line 1 of", "reads node:15 there"),),
    ),
    Seen(
        "an ARG after the first FROM",
        "FROM go:1 AS a\nARG R=a.io/\nFROM ${R}node:15\n",
        (("docker.io/library/node:15 (line 3 of", "reads a.io/node:15 there"),),
    ),
    Seen(
        "a stage in another case",
        "FROM base.azurecr.io/node:15 AS App\nFROM app\n",
        (("base.azurecr.io/node:15 (line 1 of", "as the runtime base: it records app:latest", "same case"),),
    ),
    Seen(
        "a target after an equals sign",
        "FROM a.io/base:1 AS tools\nFROM a.io/other:1 AS app\nFROM tools AS tests\n",
        (("a.io/other:1 (line 2 of", "as the runtime base: it records a.io/base:1", "--target NAME with a space"),),
        "--target=app .",
        target="app",
    ),
    Seen(
        "COPY --from an image",
        "FROM node:15\nCOPY --from=a.io/tools:1 /a /b\n",
        (("a.io/tools:1 (line 2 of", "reads no COPY", "a stage of its own"),),
    ),
    Seen(
        "a base after a line of 64 KiB",
        f"FROM go:1 AS a\nRUN {'x' * 70_000}\nFROM node:15\n",
        (("node:15 (line 3 of", "does not read that line"),),
    ),
    Seen(
        "a build argument in quotes",
        "ARG TAG=15\nFROM node:$TAG\n",
        (("node:16 (line 2 of", "reads node:15 there"),),
        '--build-arg "TAG=16" .',
        (("TAG", "16"),),
    ),
]


@pytest.mark.parametrize("row", SEEN, ids=lambda row: row.why)
def test_the_log_says_which_base_acr_does_not_see_on_which_line_and_what_to_do(row: Seen) -> None:
    used = used_images(row.dockerfile, dict(row.arguments), row.target)
    lines = list(unseen_bases(used, scan(row.dockerfile, read_build_line(row.build))))
    assert len(lines) == len(row.said), lines
    for line, parts in zip(lines, row.said, strict=True):
        assert line.startswith("ACR will not see this base: ")
        assert [part for part in parts if part not in line] == []


def test_a_docker_build_in_a_cmd_step_is_not_scanned_and_that_is_said() -> None:
    (line,) = unscanned_bases(used_images("FROM node:15\n", {}))
    assert "docker.io/library/node:15 (line 1 of the Dockerfile)" in line
    assert "make the step a build step" in line


@pytest.mark.parametrize(
    ("dockerfile", "expected"),
    [
        ("FROM --platform=linux/arm64 \\\n  # a remark\n\n  node:15 AS run\n", "docker.io/library/node:15"),
        ("# escape=`\nFROM `\nnode:15\n", "docker.io/library/node:15"),
        ("FROM\\\n node:15 \\\n", "docker.io/library/node:15"),
        ("\ufeffFROM node:15", "docker.io/library/node:15"),
        ("ARG A=1 B=2\nFROM node:$A$B\n", "docker.io/library/node:12"),
        ("ARG A=1\nARG A=2\nFROM node:$A\n", "docker.io/library/node:2"),
        ("ARG R=a.io\nARG I=$R/node\nFROM $I:15\n", "a.io/node:15"),
        ("ARG T='1 5\nFROM node:15\n", "docker.io/library/node:15"),
        ("FROM go:1\nARG T=15\nFROM node:1${T-6}\n", "docker.io/library/node:16"),
        ("ARG T=\nFROM node:${T:-15}${T-1}${T:+6}\n", "docker.io/library/node:15"),
        ("ARG T\nARG U=x\nFROM node:${T-1${U:+5}}\n", "docker.io/library/node:15"),
        ("FROM 'node':\"15\"\n", "docker.io/library/node:15"),
        ("FROM go:1 AS App\nFROM aPP\n", "docker.io/library/go:1"),
        ("FROM node-$TARGETARCH:15\n", "docker.io/library/node-amd64:15"),
        ("FROM node:15\nRUN a <<ONE 3<<-'TWO'\nFROM php\nONE\nFROM php\n\tTWO\n", "docker.io/library/node:15"),
        ("FROM node:15\nRUN x \\\n FROM php\n", "docker.io/library/node:15"),
    ],
)
def test_the_runtime_base_is_found_as_docker_finds_it(dockerfile: str, expected: str) -> None:
    runtime = used_images(dockerfile, {}).runtime
    assert runtime
    assert runtime.name == expected


def test_a_target_ends_the_build_by_name_or_number() -> None:
    text = "FROM a AS x\nFROM b AS y\nFROM c AS z\nCOPY --from=x /1 /2\nCOPY --from=d /1 /2\n"
    for target, runtime, others in (("Y", "b", "a"), ("1", "b", "a"), ("", "c", "ab"), ("gone", "c", "ab")):
        used = used_images(text, {}, target)
        assert used.runtime
        assert used.runtime.name == f"docker.io/library/{runtime}:latest"
        assert [base.name for base in used.buildtime] == [f"docker.io/library/{name}:latest" for name in others]
        assert [base.name for base in used.copied] == (["docker.io/library/d:latest"] if runtime == "c" else [])


@pytest.mark.timeout(20)
def test_variables_cannot_multiply_without_end() -> None:
    bomb = f"ARG A0={'x' * 100}\n" + "".join(f"ARG A{n + 1}={f'${{A{n}}}' * 10}\n" for n in range(8))
    assert used_images(f"{bomb}FROM $A8\n", {}).runtime is not None
    with pytest.raises(ScanError, match="more than 65535 characters: refused here"):
        scan(f"ARG A={'x' * 60_000}\nFROM {'$A' * 1000}\n", read_build_line("."))


@pytest.mark.timeout(20)
def test_thousands_of_stages_are_read() -> None:
    stages = "".join(f"FROM a AS b{number}\n" for number in range(20_000))
    runtime = used_images(f"{stages}FROM b19999\n", {}).runtime
    assert runtime and runtime.name == "docker.io/library/a:latest"
