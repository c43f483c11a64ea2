"""Removes bridges left by a killed process, which the engine no longer knows (it removes one with its last container).

Source: https://man7.org/linux/man-pages/man7/rtnetlink.7.html
"""

from __future__ import annotations

import os
import re
import socket
import struct
from pathlib import Path

_INTERFACES = Path("/sys/class/net")
_NETLINK_ROUTE, _DELETE_LINK, _REQUEST_WITH_ACK = 0, 17, 0x1 | 0x4
_HEADER, _LINK, _ERROR = struct.Struct("=IHHII"), struct.Struct("=BxHiII"), struct.Struct("=i")


def remove_bridges(pattern: str) -> None:
    """Remove every bridge whose whole name matches a regular expression, with the interfaces attached to it.

    Raises:
        OSError: if the kernel refuses.
    """
    for bridge in _INTERFACES.iterdir():
        if re.fullmatch(pattern, bridge.name) and (bridge / "brif").is_dir():
            for port in list((bridge / "brif").iterdir()):
                _delete(port.name)
            _delete(bridge.name)


def _delete(interface: str) -> None:
    try:
        index = socket.if_nametoindex(interface)
    except OSError:
        return  # it has already been removed
    link = _LINK.pack(socket.AF_UNSPEC, 0, index, 0, 0)
    request = _HEADER.pack(_HEADER.size + len(link), _DELETE_LINK, _REQUEST_WITH_ACK, 1, 0) + link
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_ROUTE) as kernel:
        kernel.send(request)
        (error,) = _ERROR.unpack_from(kernel.recv(4096), _HEADER.size)
    if error:
        raise OSError(-error, os.strerror(-error), interface)
