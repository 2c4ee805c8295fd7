"""Predictions for a device that is named, and for every device that there is a pack of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from latprof.errors import LatprofError, UsageError
from latprof.workflows.arguments import name_of, open_any_pack
from latprof.workflows.formatting import short_device
from latprof.workflows.packs import packs
from latprof.workflows.predict import predict

if TYPE_CHECKING:
    from latprof.predictors.pack.answering import Answer
    from latprof.predictors.pack.manifest import PackFacts
    from latprof.workflows.predict_answers import OnError, Predictable


def predict_on(
    networks: Sequence[Predictable],
    device: str | None = None,
    *,
    every: bool = False,
    target: str | None = None,
    threads: int | None = None,
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
    target, threads : optional
        Only packs of these.
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
    """
    chosen = [
        (facts.path, open_any_pack(facts.path))
        for facts in packs((), on=device)[0]
        if facts.target is not None
        and target in {None, facts.target.spelling}
        and threads in {None, facts.target.threads}
    ]
    if not chosen:
        raise _no_pack(device, packs()[0])
    found: list[tuple[str, Answer]] = []
    for network in networks:
        answers, failure = [], None
        for name, pack in chosen:
            try:
                answers.append((name, predict(network, pack, **options)))
            except LatprofError as error:
                failure = failure or error
        sure = [each for each in answers if not each[1].is_guess] or answers
        found += sure if every else sure[:1]
        if not answers and failure is not None:
            if on_error is None:
                raise failure
            on_error(name_of(network), failure)
    return found


def _no_pack(device: str | None, all_packs: Sequence[PackFacts]) -> UsageError:
    names = {short_device(facts.target.device_name) for facts in all_packs if facts.target}
    return UsageError(
        f"there is no pack of {device or 'this target'}",
        field="on" if device else "target",
        expected=f"one of {', '.join(sorted(names))}",
        hint="`latprof packs` lists them; collect and train make one",
    )
