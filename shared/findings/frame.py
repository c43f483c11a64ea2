"""The frame in which a report stands in the log of a task run.

    BASEGATE-REPORT-BEGIN <nonce> gzip+base64
    H4sIAAAAAAAAA6tWKkotLs0pUbJSiq6tBQBq…
    BASEGATE-REPORT-END <nonce> <sha256 of the report>

The nonce is a value that one run gets, so nothing that was written before that run can contain it: no image, whatever
its files are called, makes a scanner print a frame that is believed. The frame must stand in the section of one step,
which begins where ACR Tasks logs "Executing step ID", and that step must occur once: another step of the same run may
know the nonce, and may print lines that look like those of ACR Tasks.

Where the format of a report has no place for the digest of the image, the first line says it after the encoding:

    BASEGATE-REPORT-BEGIN <nonce> gzip+base64 sha256:<digest of the image>

The report is read as it comes, so its first bytes are known before its hash: believe them only at the end.

Source of the lines of ACR Tasks: https://github.com/Azure/acr-builder, builder/builder.go
"""

import binascii
import hashlib
import re
import zlib
from collections.abc import Iterable, Iterator

from shared.findings.model import BrokenReport

REPORT_LIMIT_BYTES = 256 * 1024 * 1024
"""How large a report may be, unpacked."""

LOG_LIMIT_BYTES = 512 * 1024 * 1024
"""How large the log may be that the frame stands in."""

_BEGIN, _END = b"BASEGATE-REPORT-BEGIN", b"BASEGATE-REPORT-END"
_GZIP, _PLAIN = b"gzip+base64", b"base64"
_LINE_LIMIT = 64 * 1024
_BLOCK = 64 * 1024
_PIECE = 1024 * 1024
_GZIP_WINDOW = 31  # zlib's window bits for a gzip stream

_WHOLE_FRAME = re.compile(r"^BASEGATE-REPORT-BEGIN .*?(?:^BASEGATE-REPORT-END [^\n]*$|\Z)", re.MULTILINE | re.DOTALL)
_END_OF_FRAME = re.compile(r"\A.*^BASEGATE-REPORT-END [^\n]*$", re.MULTILINE | re.DOTALL)
_LEFT_OUT = "(the report is left out)"

_NONCE = re.compile(r"[0-9A-Za-z]{16,64}")
_SHA256 = re.compile(rb"[0-9a-f]{64}")
_DIGEST = re.compile(rb"sha256:[0-9a-f]{64}")
_RUNNER = re.compile(rb"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d ")
_STEP = re.compile(_RUNNER.pattern + rb"Executing step ID: (.*)\. Timeout\(sec\): \d+, Working directory: '.*'.*")


class FrameReader:
    """Finds the frame with a nonce in the section of a step, in a log that is fed chunk by chunk.

    Its errors never quote the log: that has not been searched for secrets.
    """

    def __init__(self, nonce: str, step: str, limit_bytes: int = REPORT_LIMIT_BYTES) -> None:
        if not _NONCE.fullmatch(nonce):
            raise ValueError("a nonce is 16 to 64 letters and digits")
        self._nonce, self._step, self._limit = nonce.encode(), step, limit_bytes
        self._section = ""
        self._line, self._is_cut = bytearray(), False
        self._decoder: _Decoder | None = None
        self._seen_step = self._complete = self._seen_other = False
        self._log_bytes = 0
        self.digest = ""
        """What the frame says that the report is about; "" if it does not. Believe it as the report."""

    def read(self, log: Iterable[bytes]) -> Iterator[bytes]:
        """The report in a log, in pieces of at most a MiB; all of the log is read.

        Believe the pieces only after the last one: what is wrong with the frame may show at its end.

        Raises:
            BrokenReport: there is no such report, or it is damaged.
        """
        for chunk in log:
            yield from self.feed(chunk)
        yield from self.close()

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Read a chunk of the log, and yield the bytes of the report in it.

        Raises:
            BrokenReport: the frame is not as described above, or there is more than one.
        """
        self._log_bytes += len(chunk)
        if self._log_bytes > LOG_LIMIT_BYTES:
            raise BrokenReport(f"the run's log has more than {LOG_LIMIT_BYTES // 1024**2} MiB")
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            self._extend(line)
            yield from self._take_line()
        self._extend(rest)

    def close(self) -> Iterator[bytes]:
        """End the log, and yield the last bytes of the report; afterwards all of it may be believed.

        Raises:
            BrokenReport: as by `feed`, or there is no frame, or it is cut off.
        """
        yield from self._take_line()
        if self._complete:
            return
        if self._decoder:
            raise BrokenReport("the report in the run's log is cut off: its end is missing")
        if not self._seen_step:
            raise BrokenReport(f"the run's log has no step {self._step}, which prints the report")
        if self._seen_other:
            raise BrokenReport(f"the report of step {self._step} has another nonce than this run was given")
        raise BrokenReport(f"step {self._step} printed no report")

    def _extend(self, part: bytes) -> None:
        """Add to the line. Of a long one the beginning is kept: it is no line of the frame, and none of ACR Tasks."""
        room = _LINE_LIMIT - len(self._line)
        self._is_cut = self._is_cut or len(part) > room
        self._line += part[: max(0, room)]

    def _take_line(self) -> Iterator[bytes]:
        line, is_cut = bytes(self._line).rstrip(b"\r"), self._is_cut
        self._line.clear()
        self._is_cut = False
        if self._decoder and not self._complete:
            yield from self._inside(self._decoder, line, is_cut)
        elif not is_cut:
            self._outside(line)

    def _outside(self, line: bytes) -> None:
        if step := _STEP.fullmatch(line):
            self._enter(step[1].decode(errors="replace"))
        elif line.startswith((_BEGIN + b" ", _END + b" ")):
            words = line.split(b" ")
            if words[1] != self._nonce:
                self._seen_other = True
            elif self._complete:
                raise BrokenReport("the run's log has two reports with this run's nonce")
            elif words[0] == _END:
                raise BrokenReport("the run's log has the end of a report without its beginning")
            else:
                self._begin(words[2:])

    def _enter(self, step: str) -> None:
        if step == self._step and self._seen_step:
            raise BrokenReport(f"the run's log has step {step} twice: a step printed what looks like another one")
        self._section = step
        self._seen_step = self._seen_step or step == self._step

    def _begin(self, words: list[bytes]) -> None:
        if self._section != self._step:
            raise BrokenReport(f"the report was not printed by step {self._step}, but elsewhere in the run's log")
        encoding, digest = words[:1], words[1:]
        if encoding not in ([_GZIP], [_PLAIN]):
            known = f"{_GZIP.decode()} or {_PLAIN.decode()}"
            raise BrokenReport(f"the report's first line names no known encoding: it is {known}")
        if digest and (len(digest) > 1 or not _DIGEST.fullmatch(digest[0])):
            raise BrokenReport("the report's first line has more than an encoding and the digest of an image")
        self.digest = digest[0].decode() if digest else ""
        self._decoder = _Decoder(encoding == [_GZIP], self._limit)

    def _inside(self, decoder: "_Decoder", line: bytes, is_cut: bool) -> Iterator[bytes]:
        if is_cut:
            raise BrokenReport(f"a line of the report has more than {_LINE_LIMIT} bytes: wrap it, as base64 does")
        if line.startswith(_END + b" " + self._nonce + b" "):
            yield from decoder.close(line.split(b" ")[2:])
            self._complete = True
        elif line.startswith(_BEGIN + b" " + self._nonce):
            raise BrokenReport("the run's log has two reports with this run's nonce")
        elif _STEP.fullmatch(line):
            raise BrokenReport("the report in the run's log is cut off: another step begins within it")
        elif not _RUNNER.match(line):  # ACR Tasks writes its own lines to another stream, so they may come early
            yield from decoder.feed(line)


class _Decoder:
    """Decodes the lines of a frame, within a limit for the report, and hashes the report."""

    def __init__(self, is_packed: bool, limit_bytes: int) -> None:
        self._unpacker = zlib.decompressobj(_GZIP_WINDOW) if is_packed else None
        self._limit, self._size, self._hash = limit_bytes, 0, hashlib.sha256()
        self._pending, self._is_padded = bytearray(), False

    def feed(self, line: bytes) -> Iterator[bytes]:
        self._pending += line
        if len(self._pending) >= _BLOCK:
            whole = len(self._pending) // 4 * 4
            block = bytes(self._pending[:whole])
            del self._pending[:whole]
            yield from self._decode(block)

    def close(self, stated: list[bytes]) -> Iterator[bytes]:
        yield from self._decode(bytes(self._pending))
        if self._unpacker and not self._unpacker.eof:
            raise BrokenReport("the report in the run's log is cut off: its gzip stream has no end")
        if len(stated) != 1 or not _SHA256.fullmatch(stated[0]):
            raise BrokenReport("the report's last line has no sha256 hash")
        if self._hash.hexdigest().encode() != stated[0]:
            raise BrokenReport("the report in the run's log was changed or cut off: its sha256 hash is another one")

    def _decode(self, block: bytes) -> Iterator[bytes]:
        if not block:
            return
        try:
            data = binascii.a2b_base64(block, strict_mode=True)
        except binascii.Error as error:
            raise BrokenReport("the report in the run's log is not base64") from error
        if self._is_padded:
            raise BrokenReport("the report in the run's log goes on after the end of its base64")
        self._is_padded = block.endswith(b"=")
        yield from self._unpack(data) if self._unpacker else self._counted(data)

    def _unpack(self, data: bytes) -> Iterator[bytes]:
        assert self._unpacker
        is_full = True
        while data or is_full:
            try:
                piece = self._unpacker.decompress(data, _PIECE)
            except zlib.error as error:
                raise BrokenReport("the report in the run's log is not gzip") from error
            data, is_full = self._unpacker.unconsumed_tail, len(piece) == _PIECE
            yield from self._counted(piece)
        if self._unpacker.unused_data:
            raise BrokenReport("the report in the run's log goes on after the end of its gzip stream")

    def _counted(self, piece: bytes) -> Iterator[bytes]:
        self._size += len(piece)
        if self._size > self._limit:
            raise BrokenReport(f"the report has more than {self._limit} bytes")
        self._hash.update(piece)
        if piece:
            yield piece


def without_frames(log: str) -> str:
    """A log for people: a note in place of each frame. Where a log begins within a frame, its beginning is left out."""
    text = _WHOLE_FRAME.sub(_LEFT_OUT, log)
    return _END_OF_FRAME.sub(_LEFT_OUT, text, count=1)
