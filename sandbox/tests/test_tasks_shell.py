"""Command lines as the shell of ACR's agent splits them. More is in the rows of `sandbox/conformance`."""

from __future__ import annotations

import shlex

import pytest

from sandbox.tasks.taskfile.shell import ShellError, expand_heredoc, split_line


@pytest.mark.parametrize(
    "text",
    [
        "image a  b\tc", "image 'a b'\"c d\"e", 'image "a\\"b" "\\\\" \'\\n\'', "image '' \"\"",
        "image a\\ b", "image é",
        "image --set a=b,c={1..3} *.txt ~ !x %", "image \"it's\" 'say \"x\"'",
    ],
)  # fmt: skip
def test_words_without_variables_are_those_of_a_posix_shell(text: str) -> None:
    assert split_line(text).words == shlex.split(text)


def test_a_variable_is_that_of_the_agent_and_is_told() -> None:
    line = split_line("image $HOME \"$A-$B\" '$C' \\$D ${E} $0 $#")
    assert line.words == ["image", "/root", "-", "$C", "$D", "/bin/sh", "0"]
    assert line.expanded == ["HOME", "A", "B", "E", "0", "#"]


@pytest.mark.parametrize(
    "text",
    [
        "", "   ", "a && b", "a | b", "a; b", "a > b", "a < b", "a & b", "a $(b)", "a `b`", 'a "$(b)"', 'a "`b`"',
        "a\nb", "(a)", "a 2>&1", "'open", '"open', 'a"b', "a $$", "a $!", "a ${x/y/z}", "a ${x:?gone}", "# all comment",
    ],
)  # fmt: skip
def test_what_only_a_shell_could_do_is_refused(text: str) -> None:
    with pytest.raises(ShellError):
        split_line(text)


def test_words_of_a_million_characters_are_read() -> None:
    long = "a" * 1_000_000
    assert split_line(f"{long} \"{long}\" '{long}'").words == [long] * 3
    assert expand_heredoc(long) == f"{long}\n"


def test_a_here_document_expands_variables_keeps_quotes_and_ends_with_a_line_end() -> None:
    assert expand_heredoc('it\'s "x" \\"y\\" \\$z $gone.\\\\') == 'it\'s "x" \\"y\\" $z .\\\n'
    with pytest.raises(ShellError):
        expand_heredoc("a $(date)")
