"""What readers need in these tests: a vault of passwords, and an identity that nobody may ask for."""

from __future__ import annotations

from typing import NoReturn

from shared.domain.policy import RegistryRule

USER, PASSWORD, WRONG = "reader", "correct-horse", "0pen-sesame"


class Passwords:
    """The vault: the stem `right` leads to a password that is, any other to one that is not."""

    def credentials(self, registry: RegistryRule) -> tuple[str, str]:
        return USER, PASSWORD if registry.credentials == "right" else WRONG

    def expiry(self, registry: RegistryRule) -> None:
        return None

    def read(self, name: str) -> str:
        raise AssertionError("no registry needs another secret")

    def values(self) -> list[str]:
        return []


def nobody() -> NoReturn:
    """The app's identity, where it has no business."""
    raise AssertionError("the app's identity is not for other people's registries")
