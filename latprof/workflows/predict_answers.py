"""Which pack answers for which network, and its answers."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, Union

from latprof.common.files import path_text, what_is_at
from latprof.common.limits import Limit
from latprof.datasets.spaces.base import Architecture
from latprof.errors import (
    CoverageError,
    InvalidValueError,
    LatprofError,
    TargetMismatchError,
    UsageError,
)
from latprof.graph.model_file import graph_inputs, read_model
from latprof.graph.operators import Network
from latprof.graph.reader import read_network
from latprof.predictors.pack.answering import is_member, predict_architectures, predict_network
from latprof.predictors.pack.grown_pack import grown_pack
from latprof.predictors.pack.kernel_answers import predict_from_kernels
from latprof.predictors.pack.kernel_pack import KernelPack
from latprof.predictors.pack.pack import Pack
from latprof.predictors.pack.saving import read_facts
from latprof.predictors.pack.shipped import kernel_pack_names, pack_names, space_pack_names
from latprof.profilers.host.facts import processor_name
from latprof.workflows.answering_packs import Answering, bundled_kernels, kernels_of_target
from latprof.workflows.arguments import batched_shapes, mode_words, name_of, open_any_pack

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import SearchSpace
    from latprof.measurement.records import Target
    from latprof.predictors.pack.answering import Answer
    from latprof.workflows.arguments import AnyPackLike, NetworkLike, Shapes

_THREADS = Limit(1, 1024, whole=True, optional=True)

#: What can be predicted: what can be measured, and a network that was read already.
Predictable: TypeAlias = Union["NetworkLike", Network]
#: Called with what a network is called and why it cannot be predicted.
OnError: TypeAlias = Callable[[str, LatprofError], None]


@dataclass(frozen=True)
class AskedTarget:
    """What a pack's target has to be, as far as that is asked.

    Parameters
    ----------
    spelling : str, optional
        Such as ``"cpu:onnxruntime"``.
    threads : int, optional
    mode : str or sequence of str, optional
        Words of the execution mode: exactly these.

    Raises
    ------
    UnknownNameError, InvalidValueError
        For a target that does not exist, threads that are none, and words of a mode that it has
        not (that no target has, where none is given).
    """

    spelling: str | None = None
    threads: int | None = None
    mode: str | Sequence[str] | None = None

    def __post_init__(self) -> None:
        _THREADS.check("threads", self.threads)
        if self.spelling is None and not self.mode:
            return
        from latprof.profilers.base import mode_names
        from latprof.profilers.targets import profiler_class, profiler_classes

        if self.spelling is not None:
            asked = [profiler_class(self.spelling)]  # refuses what is none; may not be installed
        else:
            asked = list(profiler_classes().values())
        known = sorted({word for each in asked for word in each.modes})
        problem = (
            f"{self.spelling} has no such mode" if self.spelling else "no target has such a mode"
        )
        mode_names(problem, known, mode_words(self.mode or ()))

    @property
    def words(self) -> str | None:
        """The mode as targets have it."""
        return None if self.mode is None else ",".join(mode_words(self.mode))

    def missed_by(self, found: Target | None) -> str:
        """What was asked for and is not so of a target, in words; empty where all is."""
        asked = {
            f"{self.spelling}": (self.spelling, found and found.spelling),
            f"{self.threads} threads": (self.threads, found and found.threads),
            f"mode {self.words or 'without words'}": (self.words, found and found.mode),
        }
        return ", ".join(
            said for said, (wanted, own) in asked.items() if wanted is not None and wanted != own
        )


def packs_for(
    networks: Sequence[Predictable],
    pack: AnyPackLike | None,
    asked: AskedTarget,
    space: SearchSpace | None = None,
) -> Answering:
    """Open the pack that is given, or those that come with latprof, and check what they hold for.

    Raises as :func:`predict`.
    """
    if pack is not None:
        return _given(pack, asked, space)
    if space is not None:
        raise UsageError("a `space` is given for a `pack` of it", field="pack")
    return _bundled(networks, asked)


def _bundled(networks: Sequence[Predictable], asked: AskedTarget) -> Answering:
    """Of the packs that come with latprof."""
    spelled = sum(map(_is_spelled, networks))
    kernels = None
    if spelled < len(networks):
        kernels = _first_bundled(kernel_pack_names(processor_name()), asked)
    bundled = None
    if spelled or kernels is None:
        bundled = _first_bundled(space_pack_names(), asked)
    if bundled is None and (kernels is None or spelled == len(networks)):
        raise _none_bundled(asked)
    return Answering(
        bundled if isinstance(bundled, Pack) else None,
        kernels if isinstance(kernels, KernelPack) else None,
        opened={},
    )


def with_what_was_measured(packs: Answering) -> Answering:
    """The same with what was measured on this host for the pack of kernels."""
    if packs.kernels is None:
        return packs
    return replace(packs, kernels=grown_pack(packs.kernels))


def with_missing_measured(
    packs: Answering,
    networks: Sequence[Predictable],
    shapes: Shapes,
    batch_size: int | None,
    **options: Any,
) -> Answering:
    """The same with the kernels of these models that it lacked, measured now.

    A model that cannot be read is left to the answers, which say why. Raises UsageError where no
    pack of kernels answers, else as
    :func:`latprof.workflows.measure_missing.measure_missing`, whose options ``options`` are.
    """
    from latprof.workflows.measure_missing import AskedModel, measure_missing

    if packs.kernels is None:
        raise UsageError(
            "`measure_missing` refits a pack of kernels, and none answers here",
            field="measure_missing",
            hint="make one: latprof collect --kernels --store k.db; latprof train k.db "
            "--output my.pack; then give it as `pack`",
        )
    models: dict[str, list[AskedModel]] = {"": []}
    for network in networks:
        if isinstance(network, Architecture | Network) or _is_spelled(network):
            continue
        with contextlib.suppress(LatprofError):
            several = len(networks) > 1
            own = _shapes_for(network, shapes, set()) if several else shapes
            if batch_size is not None:
                own = _batched(network, own, batch_size)
            found = read_network(network, shapes=own or None)
            member = packs.space is not None and packs.members_first
            if not (member and is_member(packs.space, found)):  # type: ignore[arg-type]
                asked = AskedModel(Path(network), own or {}, found)
                models.setdefault(packs.name_for(found), []).append(asked)
    kernels, opened = packs.kernels, dict(packs.opened or {})
    for name, asked_of in models.items():
        if name:
            opened[name] = measure_missing(bundled_kernels(name), asked_of, **options)
        elif asked_of or len(models) == 1:
            kernels = measure_missing(kernels, asked_of, **options)
    return replace(packs, kernels=kernels, opened=None if packs.opened is None else opened)


def _is_spelled(network: Predictable) -> bool:
    """Whether a network is an architecture, or text that is no file."""
    if isinstance(network, Architecture):
        return True
    if isinstance(network, Network):
        return False
    path = Path(path_text(network, "networks"))
    return path.suffix != ".onnx" and not what_is_at(path)


def _given(pack: AnyPackLike, asked: AskedTarget, own: SearchSpace | None) -> Answering:
    loaded = open_any_pack(pack, own)
    wrong = asked.missed_by(loaded.target)
    if wrong:
        raise TargetMismatchError(
            f"the pack {name_of(pack)} holds for another target",
            expected=wrong,
            got="unknown" if loaded.target is None else loaded.target.describe(),
            hint="leave out the pack for one that comes with latprof",
        )
    if isinstance(loaded, KernelPack):
        return Answering(None, loaded)
    return Answering(loaded, kernels_of_target(loaded.target), members_first=True, opened={})


def _first_bundled(names: Sequence[str], asked: AskedTarget) -> Pack | KernelPack | None:
    anything = asked == AskedTarget()
    fitting = (n for n in names if anything or not asked.missed_by(read_facts(n).target))
    name = next(fitting, None)
    return None if name is None else open_any_pack(name)


def _none_bundled(asked: AskedTarget) -> UsageError:
    found = [facts.target for facts in map(read_facts, pack_names()) if facts.target]
    held = {f"{t.spelling} ({t.threads} thread{'s' * (t.threads > 1)})" for t in found}
    target = asked.spelling
    mode = f"--mode {asked.words} " if asked.words else ""
    return UsageError(
        f"no pack for {asked.missed_by(None)} comes with latprof",
        field="target" if target else "threads" if asked.threads else "mode",
        expected=f"one of {', '.join(sorted(held))}",
        hint=f"{_install(target)}make one: latprof collect --kernels --target {target or '...'} "
        f"{mode}--store k.db; latprof train k.db --output my.pack; then give it as `pack`",
    )


def _install(target: str | None) -> str:
    """What to do first where a target is not ready here; empty for nothing."""
    from latprof.profilers.targets import profiler_class

    found = None if target is None else profiler_class(target).availability()
    if found is None or found.state == "ready":
        return ""
    return f"{found.detail}: {found.remedy or 'measure on another host'}; then "


def predict_all(
    packs: Answering,
    networks: Sequence[Predictable],
    on_error: OnError | None,
    shapes: Shapes,
    options: Mapping[str, Any],
    batch_size: int | None = None,
) -> list[Answer]:
    """Architectures in one batch, models one by one; the answers in the order of the networks."""
    answers: dict[int, Answer] = {}
    batch: dict[int, Architecture] = {}
    several = len(networks) > 1 and any(name is not None for name in shapes or {})
    unused = {name for name in shapes or {} if name is not None} if several else set()
    for row, network in enumerate(networks):
        with _one_among_many(name_of(network), on_error):
            own = _shapes_for(network, shapes, unused) if several else shapes
            if batch_size is not None:
                own = _batched(network, own, batch_size)
            found = _read(packs.space, network, own)
            if isinstance(found, Architecture):
                batch[row] = found
            else:
                answers[row] = _predict_graph(packs, found, name_of(network), options)
    if unused and answers:
        name = min(map(str, unused))
        raise InvalidValueError(f"no model has an input {name!r}", field="shapes")
    if packs.space is None:
        return [answers[row] for row in sorted(answers)]
    upper = options["upper"]
    try:
        found_all = predict_architectures(packs.space, [*batch.values()], upper=upper)
        answers.update(zip(batch, found_all, strict=True))
    except CoverageError:
        for row, architecture in batch.items():
            with _one_among_many(str(architecture), on_error):
                (answers[row],) = predict_architectures(packs.space, [architecture], upper=upper)
    return [answers[row] for row in sorted(answers)]


def _predict_graph(
    packs: Answering, network: Network, name: str, options: Mapping[str, Any]
) -> Answer:
    """A model's answer, by whichever pack speaks for it."""
    space, kernels = packs.space, packs.kernels_for(network)
    if kernels is not None:
        member = space is not None and packs.members_first and is_member(space, network)
        if not member:
            return predict_from_kernels(kernels, network, name, **options)
    assert space is not None
    own = {key: options[key] for key in ("strict", "upper")}
    return predict_network(space, network, name, **own)


def _shapes_for(network: Predictable, shapes: Shapes, unused: set[str]) -> Shapes:
    """Of several models' shapes those that name an input of this one; they are not unused then."""
    if not isinstance(network, str | os.PathLike) or Path(network).suffix != ".onnx":
        return None
    names = {value.name for value in graph_inputs(read_model(network, data=False).graph)}
    unused.difference_update(names)
    return {name: shape for name, shape in (shapes or {}).items() if name in {None, *names}}


def _batched(network: Predictable, shapes: Shapes, batch_size: int) -> Shapes:
    """The shapes of a model's inputs with this many items a run."""
    if isinstance(network, Architecture | Network) or _is_spelled(network):
        raise InvalidValueError(
            "`batch_size` is for models: an architecture has that of the pack", field="batch_size"
        )
    return batched_shapes(Path(network), shapes, batch_size)


@contextlib.contextmanager
def _one_among_many(name: str, on_error: OnError | None) -> Iterator[None]:
    try:
        yield
    except LatprofError as error:
        if on_error is None:
            raise
        on_error(name, error)


def _read(pack: Pack | None, network: Predictable, shapes: Shapes) -> Architecture | Network:
    """The architecture that is spelled, or the graph that a file holds."""
    if isinstance(network, Architecture | Network):
        return network
    if not _is_spelled(network):
        return read_network(network, shapes=shapes or None)
    text = os.fspath(network)
    if pack is None:
        raise InvalidValueError(
            f"{text[:200]!r} is no file, and a pack of kernels knows no architectures",
            hint="give a model, or a pack of the architecture's search space",
        )
    space = pack.predictor.space
    try:
        return space.parse(text)
    except InvalidValueError as error:
        raise InvalidValueError(
            f"{text[:200]!r} is neither a file nor an architecture of {space.name}: {error}"
        ) from None
