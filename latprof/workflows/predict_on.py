"""Predictions for a device that is named, and for every device that there is a pack of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from latprof.errors import LatprofError
from latprof.predictors.pack.kernel_pack import KernelPack
from latprof.workflows.arguments import name_of, open_any_pack, space_of
from latprof.workflows.packs import no_pack, packs
from latprof.workflows.predict import predict
from latprof.workflows.predict_answers import AskedTarget

#: What packs of kernels say of their search space.
ANY_SPACE = "any"

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import SearchSpace
    from latprof.predictors.pack.answering import Answer
    from latprof.predictors.pack.manifest import PackFacts
    from latprof.predictors.pack.pack import Pack
    from latprof.workflows.arguments import OnNote, SpaceLike
    from latprof.workflows.predict_answers import OnError, Predictable


def predict_on(
    networks: Sequence[Predictable],
    device: str | None = None,
    *,
    every: bool = False,
    space: SpaceLike | None = None,
    target: str | None = None,
    threads: int | None = None,
    mode: str | Sequence[str] | None = None,
    on_note: OnNote | None = None,
    on_error: OnError | None = None,
    **options: Any,
) -> list[tuple[str, Answer]]:
    """Predict networks with the packs of a device, or with all packs.

    Parameters
    ----------
    networks : sequence
        As :func:`latprof.predict` takes them.
    device : str, optional
        A part of the device's name, as :func:`latprof.packs` takes it.
    every : bool
        An answer of each pack that knows the network, in place of the first one.
    space : SearchSpace or str, optional
        One of your own: only its packs, and those of kernels.
    target, threads, mode : optional
        Only packs of these.
    on_note : callable, optional
        Called with the reason why a pack is left out that cannot be opened.
    on_error : callable, optional
        Called with a network that no pack answers for, and the reason.
    **options
        Of :func:`latprof.predict`.

    Returns
    -------
    list of (str, Answer)
        Each with its pack. A guess only where no pack has more than that.

    Raises
    ------
    UsageError
        Where there is no pack of this device.
    PackError
        Where none of them can be opened.
    """
    asked = AskedTarget(target, threads, mode)
    chosen = _opened(packs((), on=device)[0], asked, space_of(space), on_note)
    if not chosen:
        raise no_pack(device, packs()[0])
    found: list[tuple[str, Answer]] = []
    for network in networks:
        made, failure = [], None
        for name, pack in chosen:
            try:
                made.append((name, pack, predict(network, pack, **options)))
            except LatprofError as error:
                failure = failure or error
        answers = _once(made)
        sure = [each for each in answers if not each[1].is_guess] or answers
        found += sure if every else sure[:1]
        if not answers and failure is not None:
            if on_error is None:
                raise failure
            on_error(name_of(network), failure)
    return found


def _once(made: Sequence[tuple[str, Pack | KernelPack, Answer]]) -> list[tuple[str, Answer]]:
    """The answers without those that bundled kernels gave for a space's pack, too."""
    kernels = {answer.target for _, pack, answer in made if isinstance(pack, KernelPack)}
    return [
        (name, answer)
        for name, pack, answer in made
        if isinstance(pack, KernelPack) or answer.how != "kernels" or answer.target not in kernels
    ]


def _opened(
    listed: Sequence[PackFacts],
    asked: AskedTarget,
    space: SearchSpace | None,
    on_note: OnNote | None,
) -> list[tuple[str, Pack | KernelPack]]:
    """The packs that are asked for; one that cannot be opened is left out where others can."""
    found: list[tuple[str, Pack | KernelPack]] = []
    failures: list[LatprofError] = []
    for facts in listed:
        anything = asked == AskedTarget()
        if not anything if facts.target is None else asked.missed_by(facts.target):
            continue
        own = space is not None and facts.space == space.name
        if space is not None and not own and facts.space != ANY_SPACE:
            continue
        try:
            found.append((facts.path, open_any_pack(facts.path, space if own else None)))
        except LatprofError as error:
            failures.append(error)
    if failures and not found:
        raise failures[0]
    if failures and on_note is not None:
        on_note(f"left out: {'; '.join(map(str, failures))}")
    return found
