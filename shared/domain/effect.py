"""The effects of an operation or a sweep, as its answer lists them."""

import msgspec


class Effect(msgspec.Struct, frozen=True):
    """One effect: `what` is done to which `subject`."""

    what: str
    subject: str
