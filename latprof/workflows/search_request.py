"""A whole search as it is asked for: latencies, accuracies, method, limit."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from latprof.common.extras import require
from latprof.common.files import what_is_at
from latprof.common.limits import ABOVE_0, SEED, Limit, check_limits, whole
from latprof.common.short_reprs import ShortRepr
from latprof.errors import UsageError
from latprof.searchers.accuracy.accuracy_sources import (
    accuracy_identity,
    accuracy_name,
    load_accuracy,
)
from latprof.searchers.base import MOST_STEPS, AccuracySource, Evaluation, SearchProblem
from latprof.searchers.methods import get_searcher, searcher_class
from latprof.searchers.resuming import StoredRun, search_in_store, search_plan
from latprof.searchers.sampling import sample_within

if TYPE_CHECKING:
    from latprof.measurement.store.store import Store
    from latprof.searchers.base import Searcher
    from latprof.searchers.supernets.image_tasks import ImageTask
    from latprof.workflows.arguments import PathLike
    from latprof.workflows.search_latencies import Latencies

#: What a search may spend where nobody says: networks evaluated, or epochs.
EVALUATIONS = 500
EPOCHS = 50

_LIMITS = {
    "limit_ms": ABOVE_0,
    "seed": SEED,
    "budget": Limit(1, MOST_STEPS, whole=True, optional=True),
    "image_size": whole(8, 1024),
    **dict.fromkeys(("epochs", "at_once"), whole(1, MOST_STEPS)),
}

#: Arguments of searchers that a request gives them itself, or that no command can give.
_OWN_OPTIONS = {"task", "checkpoint", "supernet_space", "seed_architecture"}


@dataclass(frozen=True, eq=False, repr=False)
class SearchRequest(ShortRepr):
    """What is searched for, and how.

    Parameters
    ----------
    latencies : Latencies
    method : str
        One of :func:`~latprof.searchers.methods.searcher_names`.
    accuracy : str, path or callable, optional
        As :func:`~latprof.searchers.accuracy.accuracy_sources.load_accuracy` takes it; this or
        ``data``.
    column : str
        Of a table of accuracies.
    data : str or path, optional
        ``"digits"`` or a folder of images, on which a supernet is trained.
    image_size : int
        Height and width of these images.
    epochs : int
        Of the supernet, for methods without gradients.
    limit_ms : float
    upper : float, optional
        As of :class:`~latprof.searchers.base.SearchProblem`; ignored where the latencies are
        measured ones or the pack has no calibration.
    budget : int, optional
        Networks evaluated, or epochs for a method with gradients.
    seed : int
    options : mapping of str to object
        Of the method; what this class gives it itself is none.
    at_once : int
        Most networks that a function is asked about in one call: an answer is in the store when the
        call has returned.

    Raises
    ------
    UsageError
        For no accuracies or two sources of them, and a method with gradients without images or with
        measured latencies.
    UnknownNameError
        For an unknown method.
    """

    latencies: Latencies
    method: str = "evolution"
    accuracy: PathLike | AccuracySource | None = None
    column: str = ""
    data: PathLike | None = None
    image_size: int = 32
    epochs: int = 40
    limit_ms: float = math.inf
    upper: float | None = 0.95
    budget: int | None = None
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    at_once: int = 1

    def __post_init__(self) -> None:
        if (self.accuracy is None) == (self.data is None):
            raise UsageError("search needs an accuracy source: either `accuracy` or `data`")
        if self.gradient and self.data is None:
            raise UsageError(f"{self.method} trains a supernet on images", expected="`data`")
        if self.gradient and self.latencies.pack is None:
            raise UsageError(f"{self.method} needs gradients of the latency", expected="`pack`")
        check_limits(self, _LIMITS)
        own = sorted(_OWN_OPTIONS & set(self.options))
        if own:
            raise UsageError(f"the search sets option {own[0]!r} itself", field=own[0])
        if self.data is not None:
            library = "sklearn" if str(self.data) == "digits" else "PIL"
            require("search", "a supernet trained on images", "torch", library)
        if not self.gradient:
            get_searcher(self.method, **self.options)  # what is wrong with it is told at once

    @property
    def gradient(self) -> bool:
        """Whether the method trains one supernet, an epoch a step."""
        return searcher_class(self.method).gradient

    @property
    def steps(self) -> int:
        """The budget, or what is usual."""
        return self.budget if self.budget is not None else EPOCHS if self.gradient else EVALUATIONS

    @property
    def accuracy_name(self) -> str:
        """What the accuracies are called."""
        if self.data is not None:
            return f"a supernet on {self.data}"
        assert self.accuracy is not None
        name = accuracy_name(self.accuracy)
        return f"{name}, {self.column}" if self.column else name

    @cached_property
    def problem(self) -> SearchProblem:
        """The problem; reads tables and images."""
        pack = self.latencies.pack
        calibrated = pack is not None and pack.predictor.calibration_ is not None
        upper = self.upper if calibrated else None
        at_once = self.at_once if self._asks_a_function else None
        return SearchProblem(
            self.latencies.source, self._accuracies(), self.limit_ms, upper, at_once
        )

    @property
    def _asks_a_function(self) -> bool:
        if self.accuracy is None:
            return False
        return callable(self.accuracy) or what_is_at(Path(self.accuracy)) != "file"

    def _accuracies(self) -> AccuracySource:
        space = self.latencies.space
        if self.accuracy is not None:
            return load_accuracy(self.accuracy, space, self.column)
        if self.gradient:
            return _not_asked
        from latprof.searchers.accuracy.accuracy_by_training import SupernetAccuracy

        return SupernetAccuracy(space, self._task, epochs=self.epochs, seed=self.seed)

    @cached_property
    def _task(self) -> ImageTask:
        from latprof.searchers.supernets.image_tasks import load_task

        return load_task(str(self.data), self.image_size, self.seed)

    def searcher(self, checkpoint: Path | None = None) -> Searcher:
        """The method; one with gradients keeps its state in ``checkpoint``."""
        if not self.gradient:
            return get_searcher(self.method, **self.options)
        options = {"checkpoint": checkpoint, **self.options}
        return get_searcher(self.method, task=self._task, **options)

    def plan(self) -> dict[str, Any]:
        """All that the steps follow from, as JSON values."""
        problem, source = self.problem, self.latencies  # a function's module is known from here on
        sources = {"latency": f"{source.name} {source.digest}".strip()}
        if self.data is not None:
            trained = self.steps if self.gradient else self.epochs
            sources["data"] = f"{self._task.name} {self._task.fingerprint} {trained} epochs"
        else:
            assert self.accuracy is not None
            name = accuracy_identity(self.accuracy)
            sources["accuracy"] = " ".join(filter(None, (name, self.column)))
        return search_plan(self.method, problem, self.seed, sources=sources, options=self.options)

    def run(
        self,
        store: Store,
        *,
        on_step: Callable[[int, Evaluation], None] = lambda _number, _step: None,
    ) -> StoredRun:
        """Search, or resume an interrupted search; each step is in the store at once.

        The state of a method with gradients is stored beside the store until the search is done.
        """
        generator = np.random.default_rng([self.seed, 1])
        sample_within(self.problem, 1, generator)  # a hopeless limit is told at once
        plan = self.plan()
        checkpoint = _beside(store, plan) if self.gradient else None
        run = search_in_store(
            self.searcher(checkpoint),
            self.problem,
            self.steps,
            store,
            plan,
            seed=self.seed,
            on_step=on_step,
        )
        if checkpoint is not None:
            checkpoint.unlink(missing_ok=True)
        return run


def _not_asked(architectures: Sequence[object]) -> list[float]:
    raise AssertionError(f"a method with gradients asked for {len(architectures)} accuracies")


def _beside(store: Store, plan: Mapping[str, Any]) -> Path | None:
    """A checkpoint's file beside the store's; none for a database without a file."""
    import hashlib
    import json

    file = Path(store.location)
    if what_is_at(file) != "file":
        return None
    name = hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()[:12]
    return file.with_name(f"{file.name}.search-{name}.pt")
