"""Uploaded archives: what is unpacked, and what is refused."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from sandbox.tasks.runs import archive
from sandbox.tasks.runs.archive import ArchiveError, unpack

Member = tuple[str, bytes, str, bytes]
"""Name, type, name of the link's goal, content."""


def member(name: str, kind: bytes = tarfile.REGTYPE, goal: str = "", content: bytes = b"") -> Member:
    return name, kind, goal, content


def packed(folder: Path, *members: Member, zipped: bool = True) -> Path:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, kind, goal, content in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size, info.mode = kind, goal, len(content), 0o4755
            tar.addfile(info, io.BytesIO(content))
    path = folder / "source.tar.gz"
    path.write_bytes(gzip.compress(file.getvalue()) if zipped else file.getvalue())
    return path


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "outside").write_text("untouched")
    folder = tmp_path / "target"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("zipped", [True, False])
def test_files_folders_and_links_within_the_folder_are_unpacked(tmp_path: Path, target: Path, zipped: bool) -> None:
    members = (
        member("src/", tarfile.DIRTYPE),
        member("link", tarfile.SYMTYPE, "src/app.py"),
        member("src/up", tarfile.SYMTYPE, "../Dockerfile"),
        member("src/app.py", content=b"print()"),
        member("./Dockerfile", content=b"FROM scratch"),
        member("same", tarfile.LNKTYPE, "src/app.py"),
    )
    unpack(packed(tmp_path, *members, zipped=zipped), target)
    assert (target / "link").read_text() == (target / "same").read_text() == "print()"
    assert (target / "src" / "up").read_text() == "FROM scratch"
    assert oct((target / "src" / "app.py").stat().st_mode)[-4:] == "0755"  # no set-user-id


@pytest.mark.attack("an uploaded archive", "paths and links that leave the folder", "paths are resolved first")
@pytest.mark.parametrize(
    "members",
    [
        [member("../outside", content=b"x")],
        [member("/outside", content=b"x")],
        [member("a/../../outside", content=b"x")],
        [member("link", tarfile.SYMTYPE, "../outside")],
        [member("link", tarfile.SYMTYPE, "/etc/passwd")],
        [member("hard", tarfile.LNKTYPE, "../outside")],
        [member("hard", tarfile.LNKTYPE, "/etc/passwd")],
        [member("d/e", tarfile.DIRTYPE), member("a", tarfile.SYMTYPE, "d/e"), member("a/b", tarfile.SYMTYPE, "../..")],
        [member("a", tarfile.SYMTYPE, "b"), member("b", tarfile.SYMTYPE, "a"), member("a/x", tarfile.SYMTYPE, "../..")],
        [member("a", tarfile.SYMTYPE, "b/../outside"), member("b", tarfile.SYMTYPE, ".")],
        [
            member("a", tarfile.SYMTYPE, "b/../."),
            member("b", tarfile.SYMTYPE, "."),
            member("a/c/d", tarfile.SYMTYPE, "x"),
        ],
    ],
)
def test_what_leaves_the_folder_is_refused_and_nothing_outside_is_changed(
    tmp_path: Path, target: Path, members: list[Member]
) -> None:
    with pytest.raises(ArchiveError):
        unpack(packed(tmp_path, *members), target)
    assert (tmp_path / "outside").read_text() == "untouched"
    assert {path.name for path in tmp_path.iterdir()} == {"outside", "source.tar.gz", "target"}


@pytest.mark.attack("an uploaded archive", "a link that leads in a circle", "where links lead")
@pytest.mark.parametrize(
    "members",
    [
        [member("a", tarfile.SYMTYPE, "a")],
        [member("a", tarfile.SYMTYPE, "b"), member("b", tarfile.SYMTYPE, "a")],
        [member("a", tarfile.SYMTYPE, "a"), member("b", tarfile.SYMTYPE, "a")],
        [member("a", tarfile.SYMTYPE, "a"), member("b", tarfile.SYMTYPE, "a/c")],
    ],
)
def test_links_in_a_circle_are_refused(tmp_path: Path, target: Path, members: list[Member]) -> None:
    with pytest.raises(ArchiveError, match="leads in a circle"):
        unpack(packed(tmp_path, *members), target)


@pytest.mark.attack("an uploaded archive", "a file behind a link of its own", "links come last")
def test_nothing_is_written_behind_a_link(tmp_path: Path, target: Path) -> None:
    folder = member("real", tarfile.DIRTYPE)
    members = [folder, member("way", tarfile.SYMTYPE, "real"), member("way/file", content=b"x")]
    with pytest.raises(ArchiveError):
        unpack(packed(tmp_path, *members), target)
    assert list((target / "real").iterdir()) == []


@pytest.mark.attack("an uploaded archive", "a device or a pipe", "the kind of a member")
@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_devices_and_pipes_are_refused(tmp_path: Path, target: Path, kind: bytes) -> None:
    with pytest.raises(ArchiveError, match="'odd' is no file, folder or link"):
        unpack(packed(tmp_path, member("odd", kind)), target)


@pytest.mark.attack("an uploaded archive", "to fill the disk", "limits of bytes and members")
def test_a_bomb_is_refused_before_it_fills_the_disk(
    tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "LIMIT_BYTES", 1024 * 1024)
    with pytest.raises(ArchiveError, match="more than 1 MiB when unpacked"):
        unpack(packed(tmp_path, member("zeros", content=bytes(2 * 1024 * 1024))), target)
    monkeypatch.setattr(archive, "LIMIT_MEMBERS", 3)
    with pytest.raises(ArchiveError, match="more than 3 members"):
        unpack(packed(tmp_path, *(member(f"file{number}") for number in range(4))), target)
    assert sum(path.stat().st_size for path in target.iterdir()) == 0


@pytest.mark.attack("an uploaded archive", "to fill the memory", "a limit of headers")
def test_a_header_that_says_it_is_huge_is_refused_before_it_is_read(tmp_path: Path, target: Path) -> None:
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, 1024**3
    path = tmp_path / "source.tar"
    path.write_bytes(info.tobuf(tarfile.USTAR_FORMAT) + bytes(1024))
    with pytest.raises(ArchiveError, match="a header of it is too large"):
        unpack(path, target)


@pytest.mark.attack("an uploaded archive", "to be read for ever (CVE-2025-8194)", "the size of a member")
def test_a_member_that_leads_back_to_itself_is_refused(tmp_path: Path, target: Path) -> None:
    info = tarfile.TarInfo("again")
    info.size = -512
    path = tmp_path / "source.tar"
    path.write_bytes(tarfile.TarInfo("first").tobuf() + info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with pytest.raises(ArchiveError, match="'again' has less than no content"):
        unpack(path, target)


@pytest.mark.parametrize(
    "content", [b"", b"no archive at all" * 100, gzip.compress(b"no archive either" * 100, mtime=0)]
)
def test_what_is_no_archive_is_refused(tmp_path: Path, target: Path, content: bytes) -> None:
    path = tmp_path / "source.tar.gz"
    path.write_bytes(content)
    with pytest.raises(ArchiveError):
        unpack(path, target)
