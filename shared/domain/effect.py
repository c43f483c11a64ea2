"""What an operation or a sweep does, for whoever reads its answer."""

import msgspec


class Effect(msgspec.Struct, frozen=True):
    """One thing that is done: `what` to which `subject`."""

    what: str
    subject: str
