"""What goes wrong while the needs are met."""


class NeedError(Exception):
    """Something is missing and cannot be installed here; says what, why, and what to do."""
