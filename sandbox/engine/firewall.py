"""Firewall rules that keep an instance's containers from the services of this machine.

A service that listens on all addresses listens on the bridges of the containers, too. So what enters this machine
through a bridge of the instance is refused, except what answers this machine: it opens connections to containers.
Containers of one bridge reach each other without passing here.

The rules do not use connection tracking, which would slow down, and limit in number, every connection of this machine.
A TCP connection is opened by a segment with SYN and without ACK (https://www.rfc-editor.org/rfc/rfc9293#section-3.5),
so all others are answers. UDP has no such mark: it is refused, answers included.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from sandbox.programs import find_program, search_path

_RULES = {
    "iptables": ("-p tcp --tcp-flags SYN,ACK SYN -j REJECT", "-p tcp -j RETURN", "-p icmp -j RETURN", "-j REJECT"),
    "ip6tables": ("-j REJECT",),  # bridges have no IPv6 addresses but link-local ones, which nobody needs
}
_IPV6_IN_USE = Path("/proc/net/if_inet6")
_LOCK_SECONDS = 10
_LONGEST_SECONDS = 30


class FirewallError(Exception):
    """The rules cannot be set or removed; the text is the program's."""


class Firewall:
    """The rules of one instance: a chain of its own, and one rule in INPUT for each of `interfaces` that leads to it.

    An interface may end in `+`: all that begin so. Rules of others are neither read for their meaning nor changed.
    """

    def __init__(self, chain: str, interfaces: Sequence[str]) -> None:
        self._chain, self._interfaces = chain, interfaces

    def start(self) -> None:
        """Set the rules; those that a killed process left are replaced.

        Raises:
            FirewallError: this machine has no iptables, or refuses a rule.
        """
        for program in _programs():
            jumps = [f"-I INPUT -i {interface} -j {self._chain}" for interface in self._interfaces]
            body = [f"-A {self._chain} {rule}" for rule in _RULES[program]]
            self._change(program, [*self._jumps(program), *body, *jumps])

    def close(self) -> None:
        """Remove the rules, as far as there are any.

        Raises:
            FirewallError: they cannot be removed.
        """
        for program in _programs():
            if f"-N {self._chain}" in self._listed(program):
                self._change(program, [*self._jumps(program), f"-X {self._chain}"])

    def _jumps(self, program: str) -> list[str]:
        """The commands that remove the rules leading to the chain."""
        end = f" -j {self._chain}"
        return [line.replace("-A", "-D", 1) for line in self._listed(program) if line.endswith(end)]

    def _listed(self, program: str) -> list[str]:
        return _run([program, "--wait", str(_LOCK_SECONDS), "-S"]).splitlines()

    def _change(self, program: str, commands: Sequence[str]) -> None:
        """Carry out commands of iptables, all or none; the chain is created or emptied first."""
        lines = ["*filter", f":{self._chain} - [0:0]", *commands, "COMMIT", ""]
        _run([f"{program}-restore", "--wait", str(_LOCK_SECONDS), "--noflush"], "\n".join(lines))


def _programs() -> list[str]:
    return [name for name in _RULES if name == "iptables" or _IPV6_IN_USE.exists()]


def _run(command: Sequence[str], rules: str = "") -> str:
    program = find_program(command[0])
    if program is None:
        raise FirewallError(f"{command[0]} is not installed")
    try:
        done = subprocess.run(
            [program, *command[1:]],
            input=rules,
            env={"PATH": search_path()},
            capture_output=True,
            text=True,
            check=False,
            timeout=_LONGEST_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FirewallError(str(error)) from error
    if done.returncode:
        raise FirewallError(f"{command[0]}: {done.stderr.strip() or f'exit code {done.returncode}'}")
    return done.stdout
