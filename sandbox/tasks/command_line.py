"""The words of a command line in a task file."""

from __future__ import annotations

import re
import shlex

_QUOTED = re.compile(r"""'[^']*'|"(?:[^"\\]|\\.)*"|\\.""", re.DOTALL)
_SHELL = re.compile(r"(?:^|\s)(?:\|\|?|&&?|;|\d?>>?(?:&\d)?|<)(?=\s|$)|;(?=\s|$)|`|\$\(")


def split_words(text: str) -> list[str]:
    """Split a command line into words as a shell does, without what else a shell does.

    ACR hands the line to a shell outside the container, where an operator hardly does what its writer meant; here
    it is an error, and a program that wants one says `sh -c "…"`.

    Raises:
        ValueError: for an open quote, no words, or an operator outside quotes.
    """
    operator = _SHELL.search(_QUOTED.sub("quoted", text))
    if operator:
        raise ValueError(f'{operator[0].strip()} outside quotes is for a shell: write sh -c "…"')
    words = shlex.split(text)
    if not words:
        raise ValueError("it has no words")
    return words
