"""Bridges that a killed process left: the engine takes one away with its last container, and knows of none any more.

Source: https://man7.org/linux/man-pages/man7/rtnetlink.7.html
"""

from __future__ import annotations

import os
import re
import socket
import struct
from pathlib import Path

_INTERFACES = Path("/sys/class/net")
_NETLINK_ROUTE, _DELETE_LINK, _REQUEST_WITH_ANSWER = 0, 17, 0x1 | 0x4
_HEADER, _LINK, _ERROR = struct.Struct("=IHHII"), struct.Struct("=BxHiII"), struct.Struct("=i")


def remove_bridges(pattern: str) -> None:
    """Remove every bridge whose whole name matches a regular expression, with the ends of its containers' cables.

    Raises:
        OSError: the kernel refuses.
    """
    for bridge in _INTERFACES.iterdir():
        if re.fullmatch(pattern, bridge.name) and (bridge / "brif").is_dir():
            for cable in list((bridge / "brif").iterdir()):
                _delete(cable.name)
            _delete(bridge.name)


def _delete(interface: str) -> None:
    try:
        index = socket.if_nametoindex(interface)
    except OSError:
        return  # it went by itself
    link = _LINK.pack(socket.AF_UNSPEC, 0, index, 0, 0)
    request = _HEADER.pack(_HEADER.size + len(link), _DELETE_LINK, _REQUEST_WITH_ANSWER, 1, 0) + link
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_ROUTE) as kernel:
        kernel.send(request)
        (error,) = _ERROR.unpack_from(kernel.recv(4096), _HEADER.size)
    if error:
        raise OSError(-error, os.strerror(-error), interface)
