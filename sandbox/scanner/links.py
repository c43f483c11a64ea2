"""Symbolic links in the tree of an image: where a path leads, which is never outside of the image's root."""

from __future__ import annotations

from collections.abc import Mapping

from sandbox.scanner.errors import ScanError

LONGEST_TARGET = 4096  # characters: Linux has no longer one (https://man7.org/linux/man-pages/man2/symlink.2.html)
_MOST_FOLLOWED = 40  # https://man7.org/linux/man-pages/man7/path_resolution.7.html


def resolved(path: str, links: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """Where a path leads, and the links that were followed, as in a process whose root is that of the image.

    A target with a leading slash begins at the root, and `..` does not leave it.

    Args:
        path: relative to the root, without a leading slash, like those of the result.
        links: the targets of all links, by their paths.

    Raises:
        ScanError: more than 40 links: there is a circle.
    """
    real: list[str] = []
    followed: list[str] = []
    left = path.split("/")[::-1]
    while left:
        part = left.pop()
        if part == "..":
            del real[-1:]
        elif part not in ("", "."):
            real.append(part)
            here = "/".join(real)
            if here not in links:
                continue
            followed.append(here)
            if len(followed) > _MOST_FOLLOWED:
                raise ScanError(f"{path} leads in a circle of links")
            real = [] if links[here].startswith("/") else real[:-1]
            left += links[here].split("/")[::-1]
    return "/".join(real), tuple(followed)
