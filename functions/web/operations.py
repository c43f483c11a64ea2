"""What there is to say of each call of the HTTP interface: the routes and the OpenAPI document are made from it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from functions.web.inputs import Asked
from functions.web.principal import Role
from shared.operations.operate import Operate
from shared.operations.plan import Plan, Who

B = TypeVar("B", bound=Asked)
Route = Mapping[str, str]
Operation = Callable[[Operate, Route, B, Who], Plan]
"""What an acting call does, for the values in its path, its body, and whoever asks."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call: its docstring is the summary, and what more there is to say."""

    path: str
    operation: Callable[..., object]

    @property
    def summary(self) -> str:
        """The first line of the operation's docstring."""
        return (self.operation.__doc__ or "").partition("\n")[0].rstrip(".")

    @property
    def more(self) -> str:
        """The rest of it."""
        return " ".join((self.operation.__doc__ or "").partition("\n")[2].split())


@dataclass(frozen=True, kw_only=True)
class Read(Call):
    """A call that reads. `states`, where it has any, are those that a list may be asked for; `paged` says it is one."""

    answer: type
    """Of its JSON; `RunLog` is a log as text, `dict` JSON of no shape that is known here."""

    paged: bool = False
    states: tuple[str, ...] = ()
    flags: Mapping[str, str] = field(default_factory=dict)
    etag: bool = False
    also: Mapping[int, str] = field(default_factory=dict)
    """Other statuses with the same kind of answer."""

    open: bool = False
    """Whether it is answered without a key."""


@dataclass(frozen=True, kw_only=True)
class Act(Call):
    """A call that acts; `examples` are bodies by what they are an example of."""

    operation: Operation[Any]
    method: str
    body: type[Asked]
    role: Role
    examples: Mapping[str, Mapping[str, Any]]


READS: list[Read] = []
ACTS: list[Act] = []
"""All calls, in the order in which the document has them."""
