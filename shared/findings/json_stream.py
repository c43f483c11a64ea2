"""One JSON document, read forward in pieces: nothing is kept of it but what the caller takes.

The containers on the way to the long lists are entered here, step by step. Each element of a list is then decoded by
the decoder of the standard library, in C, and dropped before the next one. So a document needs the memory of its
largest element, and no more time than `json.load` of the whole.
"""

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from json import JSONDecodeError
from typing import Any, NoReturn, TypeVar

import msgspec

from shared.findings.model import BrokenReport

LIMIT_BYTES = 256 * 1024**2
"""The size of a document."""

ELEMENT_LIMIT_CHARACTERS = 2 * 1024**2
"""The size of what is decoded at once: an element of a list, or a value that is taken whole."""

ELEMENT_LIMIT_VALUES = 100_000
"""How many values may be decoded at once: two characters, `[]`, become an object of 56 bytes."""

LIMIT_MEMBERS = 10_000
"""How many keys an object that is entered may have."""

_CHUNK_BYTES = 128 * 1024
_GROWTH_CHARACTERS = 512 * 1024
_KEY_CHARACTERS = 100

_CUT_CHARACTERS = 2
"""What may be left over of a number that goes on in the next piece: `1` is a number, and the text so far `1e+`."""

_SPACE = re.compile(r"[ \t\n\r]*")

T = TypeVar("T")


class JsonStream:
    """A document that is read once, from its beginning to its end.

    Every method raises `BrokenReport` where the document is no JSON by RFC 8259, is cut off, has a key twice in an
    object that is entered, or is larger than the limits above. In what is decoded at once, the last of two equal keys
    counts, as everywhere in Python: to compare them would take as long as to decode. What the source of the chunks
    raises goes through.
    """

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = _decoded(chunks)
        self._waiting: list[str] = []
        self._decoders: dict[Any, msgspec.json.Decoder[Any]] = {}
        self._text = ""
        self._at = 0
        self._dropped = 0
        self._decode = json.JSONDecoder(parse_constant=_no_constant).raw_decode

    def next_character(self) -> str:
        """The first character of what comes next, which tells its type: `{`, `[`, `"` and so on."""
        if not self._skip_space():
            self._fail("is cut off" if self._offset else "is empty")
        return self._text[self._at]

    def members(self) -> Iterator[str]:
        """The keys of the object that comes next. A value that the caller does not take is skipped."""
        self._expect("{")
        keys: set[str] = set()
        closed = self._closes("}")
        while not closed:
            key = self.value() if self.next_character() == '"' else self._fail("has no key where one is due")
            if key in keys:
                self._fail(f"has the key {key[:100]!r} twice in one object")
            keys.add(key)
            if len(keys) > LIMIT_MEMBERS:
                self._fail(f"has an object with more than {LIMIT_MEMBERS:,} keys")
            self._expect(":")
            self.next_character()
            before = self._dropped + self._at
            yield key
            if self._dropped + self._at == before:
                self.skip()
            closed = self._ends_with("}")

    def elements(self) -> Iterator[None]:
        """Once for each element of the list that comes next. One that the caller does not take is skipped."""
        self._expect("[")
        closed = self._closes("]")
        while not closed:
            self.next_character()
            before = self._dropped + self._at
            yield None
            if self._dropped + self._at == before:
                self.skip()
            closed = self._ends_with("]")

    def value(self) -> Any:
        """What comes next, decoded."""
        self.next_character()
        while True:
            decoded = self._try_to_decode()
            if decoded and (len(self._text) - decoded[1] > _CUT_CHARACTERS or not self._grow()):
                self._move_to(decoded[1])
                return decoded[0]
            if not decoded and not self._grow():
                self._fail("is no valid JSON, or is cut off,")

    def take(self, type_: type[T]) -> T:
        """What comes next, as an object of a type."""
        self.next_character()
        end = self._end_of_object()
        if end:
            try:
                taken: T = self._decoder(type_).decode(self._text[self._at : end])
            except (msgspec.MsgspecError, RecursionError):
                pass  # the slower way knows whether it is really wrong, and says why
            else:
                self._move_to(end)
                return taken
        return self._convert(type_)

    def skip(self) -> None:
        """Leave out what comes next, an element at a time."""
        opening = self.next_character()
        if opening == "{":
            for _ in self.members():
                self.value()
        elif opening == "[":
            for _ in self.elements():
                self.value()
        else:
            self.value()

    def end(self) -> None:
        """Nothing may come any more."""
        if self._skip_space():
            self._fail("continues after its end")

    @property
    def _offset(self) -> int:
        return self._dropped + self._at

    def _expect(self, character: str) -> None:
        if self.next_character() != character:
            self._fail(f"has no {character} where one is due")
        self._at += 1

    def _closes(self, character: str) -> bool:
        is_closed = self.next_character() == character
        self._at += is_closed
        return is_closed

    def _ends_with(self, character: str) -> bool:
        """Whether the container is closed; else a comma must follow."""
        following = self.next_character()
        if following not in (",", character):
            self._fail("has no , where one is due")
        self._at += 1
        return following == character

    def _end_of_object(self) -> int:
        """Where the object that comes next probably ends: before the next one that begins with the same key; or 0.

        Elements of a list do. Where that is wrong, because such an object is a part of this one, or the next element
        begins with another key, what is cut out is no JSON. So most objects are decoded to their type at once: no
        character of them needs a look before, and what is not taken of them is never made.
        """
        text, at = self._text, self._at
        colon = text.find(":", at, at + _KEY_CHARACTERS)
        if text[at] != "{" or colon < 0:
            return 0
        following = text.find(text[at : colon + 1], colon)
        return text.rfind("}", at, following) + 1 if following > 0 else 0

    def _decoder(self, type_: type[T]) -> msgspec.json.Decoder[T]:
        if type_ not in self._decoders:
            self._decoders[type_] = msgspec.json.Decoder(type_)
        return self._decoders[type_]

    def _convert(self, type_: type[T]) -> T:
        offset = self._offset
        try:
            return msgspec.convert(self.value(), type_)
        except msgspec.ValidationError as error:
            raise BrokenReport(f"the report is not of its format at character {offset:,}: {error}") from None
        except UnicodeEncodeError:
            raise BrokenReport(f"the report has half of a surrogate pair after character {offset:,}") from None
        except RecursionError:
            raise BrokenReport("the report is nested too deeply") from None

    def _try_to_decode(self) -> tuple[Any, int] | None:
        """What comes next, and where it ends; None if it is not valid as far as the text is at hand."""
        try:
            return self._decode(self._text, self._at)
        except JSONDecodeError:
            return None
        except RecursionError:
            raise BrokenReport("the report is nested too deeply") from None
        except ValueError:  # from int()
            raise BrokenReport("the report has a number of thousands of digits") from None

    def _skip_space(self) -> bool:
        """Move to the next character that is no space; False if there is none."""
        while True:
            if self._text[self._at : self._at + 1] > " ":
                return True
            if space := _SPACE.match(self._text, self._at):
                self._at = space.end()
            if self._at < len(self._text) or not self._grow():
                return self._at < len(self._text)

    def _move_to(self, end: int) -> None:
        """Go on from there. Of a text that grew for one large element, the rest waits: it must be counted anew."""
        self._at = end
        if len(self._text) - end > 2 * _CHUNK_BYTES:
            starts = range(end, len(self._text), _CHUNK_BYTES)
            self._waiting += reversed([self._text[start : start + _CHUNK_BYTES] for start in starts])
            self._dropped, self._text, self._at = self._offset, "", 0

    def _grow(self) -> bool:
        """Drop what was read, and read on; False if nothing is left to read."""
        parts: list[str] = []
        missing = min(len(self._text) - self._at, _GROWTH_CHARACTERS)
        while missing >= 0 and (part := self._waiting.pop() if self._waiting else next(self._chunks, "")):
            parts.append(part)
            missing -= len(part)
        if parts:
            text = "".join([self._text[self._at :], *parts])
            self._dropped, self._text, self._at = self._offset, text, 0
            self._check_size()
        return bool(parts)

    def _check_size(self) -> None:
        size = len(self._text)
        if size > ELEMENT_LIMIT_CHARACTERS:
            self._fail(f"has an element of more than {ELEMENT_LIMIT_CHARACTERS:,} characters")
        if size > 2 * _CHUNK_BYTES and sum(map(self._text.count, ",[{")) > ELEMENT_LIMIT_VALUES:
            self._fail(f"has an element of more than {ELEMENT_LIMIT_VALUES:,} values")

    def _fail(self, problem: str) -> NoReturn:
        place = f" at character {self._offset:,}" if self._offset else ""
        raise BrokenReport(f"the report {problem}{place}")


def _decoded(chunks: Iterable[bytes]) -> Iterator[str]:
    """The text of the chunks, in pieces of a bounded size; a byte order mark is left out."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    size = 0
    try:
        for chunk in chunks:
            size += len(chunk)
            if size > LIMIT_BYTES:
                raise BrokenReport(f"the report is larger than {LIMIT_BYTES // 1024**2} MB")
            for start in range(0, len(chunk), _CHUNK_BYTES):
                if text := decoder.decode(chunk[start : start + _CHUNK_BYTES]):
                    yield text
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        raise BrokenReport("the report is no UTF-8 text, or is cut off") from None


def _no_constant(name: str) -> NoReturn:
    raise BrokenReport(f"the report has {name}, which is no JSON")
