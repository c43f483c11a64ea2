"""Whether everything that the rules need can be used, each with what to do if not."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Lock

from shared.workflow.findings import Finding, of_silence
from shared.workflow.services import Services
from shared.workflow.trials import Trial, trials

PATIENCE_SECONDS = 8.0
"""How long a trial may take. They all begin at the same time, so it is how long all of them may take, too."""

_TRIALS_AT_A_TIME = 64


class Doctor:
    """Tries each dependency once, cheaply and without changing anything, all at the same time.

    A client waits for a service that hangs far longer than a person does for an answer. Its trial is left behind then,
    and not begun again before it has ended: however often one asks, no more threads hang than there are dependencies.
    """

    def __init__(self, services: Services, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._services, self._patience = services, patience_seconds
        self._begun: dict[str, Future[Sequence[Finding]]] = {}
        self._beginning = Lock()

    def examine(self) -> list[Finding]:
        """What each dependency says, in the order of the rules; one that is too slow is said to be so."""
        futures = self._begin(trials(self._services))
        wait(futures.values(), timeout=self._patience)
        return [finding for name, future in futures.items() for finding in self._said(name, future)]

    def _begin(self, wanted: dict[str, Trial]) -> dict[str, Future[Sequence[Finding]]]:
        with self._beginning:
            self._begun = {name: future for name, future in self._begun.items() if not future.done()}
            fresh = {name: trial for name, trial in wanted.items() if name not in self._begun}
            pool = ThreadPoolExecutor(_TRIALS_AT_A_TIME, thread_name_prefix="readyz")  # it makes threads as needed
            self._begun |= {name: pool.submit(trial) for name, trial in fresh.items()}
            pool.shutdown(wait=False)
            return {name: self._begun[name] for name in wanted}

    def _said(self, name: str, future: Future[Sequence[Finding]]) -> Sequence[Finding]:
        return future.result() if future.done() else [of_silence(name, self._patience)]
