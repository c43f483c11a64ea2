"""Go's fmt: Sprint, Sprintln and Sprintf.

Source: https://pkg.go.dev/fmt
"""

from __future__ import annotations

import re
from collections.abc import Callable

from sandbox.tasks.taskfile.gotemplate.values import TemplateError, character, kind, text_of, type_name

_VERB = re.compile(r"%(?P<flags>[-+# 0]*)(?P<width>\d*)(?:\.(?P<precision>\d*))?(?P<verb>.)?", re.DOTALL)
_WIDEST = 10_000
_CONTROLS = {"\a": r"\a", "\b": r"\b", "\f": r"\f", "\n": r"\n", "\r": r"\r", "\t": r"\t", "\v": r"\v"}


def sprint(*values: object) -> str:
    """The values one after the other, with a space between two that are no strings."""
    result = ""
    for index, value in enumerate(values):
        apart = index and not isinstance(value, str) and not isinstance(values[index - 1], str)
        result += (" " if apart else "") + text_of(value)
    return result


def sprintln(*values: object) -> str:
    """The values with spaces between them, and a line end."""
    return " ".join(map(text_of, values)) + "\n"


def quoted(text: str) -> str:
    """The text as Go's %q quotes it."""
    return '"' + "".join(map(_quoted_character, text)) + '"'


def _quoted_character(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character in _CONTROLS:
        return _CONTROLS[character]
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def sprintf(layout: str, *values: object) -> str:
    """The values in a layout. What does not fit is written into the text, as Go does.

    Raises:
        TemplateError: for a width of more than 10,000.
    """
    pending = list(values)

    def one(match: re.Match[str]) -> str:
        verb = match["verb"]
        if verb == "%":
            return "%"
        if verb is None:
            return "%!(NOVERB)"
        if not pending:
            return f"%!{verb}(MISSING)"
        return _pad(_verb(match, pending.pop(0)), match)

    result = _VERB.sub(one, layout)
    extra = ", ".join(f"{type_name(value)}={text_of(value)}" if value is not None else "<nil>" for value in pending)
    return result + (f"%!(EXTRA {extra})" if extra else "")


def _pad(text: str, match: re.Match[str]) -> str:
    width = int(match["width"] or 0)
    if max(width, int(match["precision"] or 0)) > _WIDEST:
        raise TemplateError(f"a width of more than {_WIDEST} is refused here")
    flags = match["flags"]
    if "-" in flags:
        return text.ljust(width)
    if "0" in flags and not text.startswith(("%!", '"')):
        sign = text[:1] if text[:1] in ("+", "-") else ""
        return sign + text.removeprefix(sign).rjust(width - len(sign), "0")
    return text.rjust(width)


def _verb(match: re.Match[str], value: object) -> str:
    verb, flags = match["verb"], match["flags"]
    if verb == "v":
        return quoted(value) if "#" in flags and isinstance(value, str) else text_of(value)
    if verb == "T":
        return type_name(value)
    group = "number" if kind(value) in ("int", "int64") else kind(value)
    write = _WRITERS.get((group, verb))
    if not write and isinstance(value, list):
        return f"[{' '.join(_verb(match, item) for item in value)}]"
    if not write:
        known = "<nil>" if value is None else f"{type_name(value)}={text_of(value)}"
        return f"%!{verb}({known})"
    text = write(value, match)
    signed = "+" in flags and group in ("number", "float64") and verb != "q" and not text.startswith("-")
    return f"+{text}" if signed else text


def _precise(text: object, match: re.Match[str]) -> str:
    return str(text)[: int(match["precision"] or 0)] if match["precision"] is not None else str(text)


def _float(value: object, match: re.Match[str]) -> str:
    verb = match["verb"]
    if verb == "g" and match["precision"] is None:
        return text_of(value)
    precision = f".{match['precision'] or 0}" if match["precision"] is not None else ""
    return format(float(str(value)), f"{precision}{verb}")


def _integer(base: str) -> Callable[[object, re.Match[str]], str]:
    def write(value: object, match: re.Match[str]) -> str:
        return format(int(str(value)), ("#" if "#" in match["flags"] and base in "xXob" else "") + base)

    return write


def _hexadecimal(value: object, match: re.Match[str]) -> str:
    text = str(value).encode().hex()
    return text.upper() if match["verb"] == "X" else text


_WRITERS: dict[tuple[str, str], Callable[[object, re.Match[str]], str]] = {
    ("string", "s"): _precise,
    ("string", "q"): lambda value, match: quoted(_precise(value, match)),
    ("string", "x"): _hexadecimal,
    ("string", "X"): _hexadecimal,
    ("bool", "t"): lambda value, _: text_of(value),
    ("number", "c"): lambda value, _: character(int(str(value))),
    ("number", "q"): lambda value, _: f"'{character(int(str(value)))}'",
    ("number", "U"): lambda value, _: f"U+{int(str(value)):04X}",
    **{("number", base): _integer(base) for base in "dxXob"},
    **{("float64", verb): _float for verb in "feEgG"},
}
