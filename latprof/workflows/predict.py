"""Predicting the latency of networks from a pack."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, overload

from latprof.common.limits import INNER_SHARE, Limit

if TYPE_CHECKING:
    from latprof.predictors.pack.answering import Answer, Answers
    from latprof.profilers.campaign.campaign import Progress
    from latprof.workflows.arguments import AnyPackLike, OnNote, Shapes, SpaceLike
    from latprof.workflows.predict_answers import OnError, Predictable

_BATCH_SIZE = Limit(1, 1 << 20, whole=True, optional=True)


@overload
def predict(  # type: ignore[overload-overlap] # text is a sequence of text, and one network
    networks: Predictable,
    pack: AnyPackLike | None = ...,
    *,
    space: SpaceLike | None = ...,
    target: str | None = ...,
    threads: int | None = ...,
    mode: str | Sequence[str] | None = ...,
    shapes: Shapes = ...,
    batch_size: int | None = ...,
    strict: bool = ...,
    upper: float | None = ...,
    advise: bool = ...,
    measure_missing: bool = ...,
    on_progress: Callable[[Progress], None] | None = ...,
    on_note: OnNote | None = ...,
) -> Answer: ...
@overload
def predict(
    networks: Sequence[Predictable],
    pack: AnyPackLike | None = ...,
    *,
    space: SpaceLike | None = ...,
    target: str | None = ...,
    threads: int | None = ...,
    mode: str | Sequence[str] | None = ...,
    shapes: Shapes = ...,
    batch_size: int | None = ...,
    strict: bool = ...,
    upper: float | None = ...,
    advise: bool = ...,
    measure_missing: bool = ...,
    on_progress: Callable[[Progress], None] | None = ...,
    on_note: OnNote | None = ...,
    on_error: OnError | None = ...,
) -> Answers: ...
def predict(
    networks: Predictable | Sequence[Predictable],
    pack: AnyPackLike | None = None,
    *,
    space: SpaceLike | None = None,
    target: str | None = None,
    threads: int | None = None,
    mode: str | Sequence[str] | None = None,
    shapes: Shapes = None,
    batch_size: int | None = None,
    strict: bool = False,
    upper: float | None = None,
    advise: bool = False,
    measure_missing: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    on_note: OnNote | None = None,
    on_error: OnError | None = None,
) -> Answer | Answers:
    """Predict the latency of networks from a pack, without running them.

    Any model is predicted from its kernels, with an interval that is wider the smaller the coverage
    is, the share of the time from kernels within the training range. With a pack of a search space
    its members, recognised by their operators, are answered by its predictor instead; any other
    model by the bundled kernels of the same target, or, where there are none, as a guess without an
    interval: a sum over operators.

    Parameters
    ----------
    networks : path, Architecture, its spelling, or Network; or a sequence of them
        A sequence gives a list, which has ``to_frame`` and ``plot`` as one answer has.
    pack : Pack, KernelPack, path or str, optional
        Of a file, or the name of a pack that comes with latprof. Unless given, models are answered
        by the first bundled kernels for ``target`` and ``threads``, architectures by the first
        bundled pack of a search space, ``"proxyless-cpu-ort1"`` without either.
    space : SearchSpace or str, optional
        The pack's search space, where it is one of your own.
    target : str, optional
        The pack must hold for this target, such as ``"cpu:onnxruntime"``.
    threads : int, optional
        The pack must hold for so many threads inside an operator.
    mode : str or sequence of str, optional
        The pack must hold for this execution mode, such as ``"opt-basic"``; ``""`` for none.
    shapes : mapping of str to sequence of int, optional
        Shapes of the models' inputs whose own are dynamic.
    batch_size : int, optional
        Of models: the first dimension of each input of two or more. Several, or ranges of other
        sizes: :func:`latprof.workflows.predict_curve.predict_curve`.
    strict : bool
        Refuse a model with operators outside the range of the training data.
    upper : float, optional
        A share such as 0.95: also give the latency that measurements stay below with this
        probability.
    advise : bool
        Also say what to change in models that are answered from kernels.
    measure_missing : bool
        First measure the kernels that the pack never saw, where its target is this host, and refit
        it (:func:`latprof.workflows.measure_missing.measure_missing`). What was measured is used by
        later predictions from the same pack, too.
    on_progress, on_note : callable, optional
        With ``measure_missing``: as of :func:`latprof.collect`.
    on_error : callable, optional
        For a sequence: called for each network that cannot be predicted, which the list then lacks;
        without it the first such error is raised.

    Raises
    ------
    PackError, UnknownNameError
        For the pack, and a target that does not exist.
    TargetMismatchError
        For a pack of another target, another number of threads, or another mode.
    UsageError
        Where no pack that comes with latprof holds for them.
    InvalidValueError, ModelFileError, DynamicShapeError
        For a network that cannot be read, or is neither a file nor an architecture.
    CoverageError
        With ``strict``.
    PackSpaceError
        For a model outside the search space of a pack that knows nothing else.
    """
    from latprof.datasets.spaces.base import Architecture
    from latprof.graph.guarded.inference import start_early
    from latprof.graph.operators import Network

    if upper is not None:
        INNER_SHARE.check("`upper`", upper)
    _BATCH_SIZE.check("batch_size", batch_size)
    single = isinstance(networks, str | os.PathLike | Architecture | Network)
    listed: list[Predictable] = [networks] if single else list(networks)  # type: ignore[list-item, arg-type]
    if any(isinstance(each, str | os.PathLike) and Path(each).suffix == ".onnx" for each in listed):
        start_early()
    from latprof.predictors.pack.answering import Answers
    from latprof.workflows import predict_answers
    from latprof.workflows.arguments import space_of

    asked = predict_answers.AskedTarget(target, threads, mode)
    packs = predict_answers.packs_for(listed, pack, asked, space_of(space))
    if measure_missing:
        how = {"on_progress": on_progress, "on_note": on_note}
        packs = predict_answers.with_missing_measured(packs, listed, shapes, batch_size, **how)
    else:
        packs = predict_answers.with_what_was_measured(packs)
    predict_all = predict_answers.predict_all
    options = {"strict": strict, "upper": upper, "advise": advise}
    if single:
        (answer,) = predict_all(packs, listed, None, shapes, options, batch_size)
        return answer
    return Answers(predict_all(packs, listed, on_error, shapes, options, batch_size))
