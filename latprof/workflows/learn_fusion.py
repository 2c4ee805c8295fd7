"""Finding out how a runtime fuses: chains of operators timed in parts and together."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from latprof.common.extras import needs
from latprof.common.files import check_output, data_folder
from latprof.common.short_reprs import ShortRepr
from latprof.errors import EXIT_OK, EXIT_PARTIAL, NotEnoughDataError
from latprof.workflows.arguments import (
    OnNote,
    PathLike,
    RunArguments,
    StoreLike,
    open_store,
    run_options,
)

if TYPE_CHECKING:
    from latprof.graph.fusion_rules import FusionRules
    from latprof.measurement.labels import TargetLabels
    from latprof.measurement.records import KernelTime, Target
    from latprof.measurement.store.store import Store
    from latprof.profilers.base import RunOptions
    from latprof.profilers.campaign.campaign import Progress
    from latprof.profilers.campaign.collection import Collection
    from latprof.profilers.fusion_chains import Chain
    from latprof.profilers.fusion_evidence import ChainEvidence, NetworkAgreement

#: Networks of the zoo that the rules are checked on where none is named.
CHECKED = ("mobilenet-v3-small@96", "resnet-18@96", "squeezenet-1.1@96")


@dataclass(frozen=True, repr=False)
class FusionResult(ShortRepr):
    """How a runtime fuses, what that was found from, and how it agrees with what ran.

    ``agreements`` is of networks of the zoo: their kernels by the rules beside those that ran.
    ``failures`` are names of networks and why they failed.
    """

    target: Target
    rules: FusionRules
    path: Path
    evidence: tuple[ChainEvidence, ...]
    agreements: tuple[NetworkAgreement, ...] = ()
    failures: tuple[tuple[str, str], ...] = ()

    @property
    def agreeing(self) -> tuple[int, int]:
        """Chains of which times say what ran, of those whose kernels are told."""
        told = [each for each in self.evidence if each.ran_fused is not None]
        return sum(each.fused_by_time == each.ran_fused for each in told), len(told)

    @property
    def exit_status(self) -> int:
        """5 where a network failed, else 0."""
        return EXIT_PARTIAL if self.failures else EXIT_OK

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain JSON values."""
        agreeing, told = self.agreeing
        return {
            "target": self.target.to_dict(),
            "rules": str(self.path),
            "chains": [each.to_dict() for each in self.evidence],
            "chains_told": told,
            "chains_agreeing": agreeing,
            "networks": [each.to_dict() for each in self.agreements],
            "failures": [{"network": name, "why": why} for name, why in self.failures],
        }


@needs("collect", "pandas", "scipy", "sqlalchemy")
def learn_fusion(
    target: str = "cpu:onnxruntime",
    output: PathLike | None = None,
    *,
    check: Sequence[str] = CHECKED,
    store: StoreLike | None = None,
    visits: int = 2,
    chains: Sequence[Sequence[str]] | None = None,
    timeout_s: float = 300.0,
    on_progress: Callable[[Progress], None] | None = None,
    on_note: OnNote | None = None,
    **run: Unpack[RunArguments],
) -> FusionResult:
    """Find out which operators a runtime runs as one kernel, and keep that as rules.

    Pairs and chains of operators are timed without their last one, that alone, and together. Where
    the runtime tells its kernels, those decide, and the times are compared with them; elsewhere a
    chain is fused where it saves at least half of its shorter part.

    Parameters
    ----------
    target : str
        What to measure on; :func:`latprof.devices` lists the spellings.
    output : path, optional
        The rules' file; unless given in the user's data folder, under the target's name.
    check : sequence of str
        Networks of the zoo, as of :func:`latprof.collect`, whose kernels by the rules are compared
        with those that ran.
    store : path, URL or Store, optional
        Where the measurements go, to resume from; unless given they are not kept.
    visits : int
        Fresh loads of each model.
    chains : sequence of sequence of str, optional
        Operator types of chains; unless given all of
        :func:`latprof.profilers.fusion_chains.chains`.
    timeout_s : float
        Longest time for one visit, in seconds.
    on_progress, on_note : callable, optional
        As of :func:`latprof.collect`.
    **run
        How the models run (:class:`~latprof.workflows.arguments.RunArguments`).

    Raises
    ------
    UsageError, OutputPathError
        For arguments out of range, before anything is measured.
    UnsupportedModelError
        Where the target cannot be measured here.
    NotEnoughDataError
        Where no chain could be timed.
    """
    from latprof.graph.fusion_rules import FusionRules
    from latprof.measurement.labels import TargetLabels
    from latprof.measurement.records import PairedProtocol
    from latprof.profilers import fusion_chains
    from latprof.profilers.campaign.collection import Collection
    from latprof.profilers.visits.measuring_process import check_timeout

    options = run_options(target, run, on_note)
    check_timeout(timeout_s)
    asked = fusion_chains.chains() if chains is None else [tuple(chain) for chain in chains]
    how: dict[str, Any] = {
        "target": target,
        "options": options,
        "protocol": PairedProtocol(visits=visits),
    }
    path = _place(target, output)
    networks = Collection.of_zoo(check, **how) if check else None
    with _store(store) as opened, tempfile.TemporaryDirectory(prefix="latprof-") as folder:
        keys, models = _chain_models(asked, Path(folder), how)
        failures: list[tuple[str, str]] = []
        for collection in (models, networks):
            if collection is not None:
                failures += _collected(collection, opened, timeout_s, on_progress)
        measured = TargetLabels.of(opened, models.identity())
        kernels = {subject.key: p.kernels for subject, p in measured.kernel_profiles()}
        evidence = _evidence(asked, keys, measured, kernels)
        rules = FusionRules(
            {each.operators: each.fused for each in evidence}, measured.target.to_dict()
        )
        agreements = _agreements(networks, kernels, rules, options)
    rules.save(path)
    return FusionResult(measured.target, rules, path, evidence, tuple(agreements), tuple(failures))


def _place(target: str, output: PathLike | None) -> Path:
    if output is not None:
        check_output(output)
        return Path(output)
    folder = data_folder("fusion")
    check_output(folder, directory=True)
    safe = "".join(c if c.isalnum() else "-" for c in target)
    return folder / f"{safe}.json"


@contextlib.contextmanager
def _store(store: StoreLike | None) -> Iterator[Store]:
    """The store that is given, or one that is gone afterwards."""
    with contextlib.ExitStack() as stack:
        if store is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="latprof-"))
            store = Path(folder) / "fusion.db"
        yield stack.enter_context(open_store(store, create=True))


def _chain_models(
    chains: Sequence[Chain], folder: Path, how: dict[str, Any]
) -> tuple[dict[Chain, str], Collection]:
    """Keys in the store of all chains and their parts, and the collection that measures them."""
    import onnx

    from latprof.profilers.campaign.collection import Collection
    from latprof.profilers.fusion_chains import NOTHING, chain_model, parts_of
    from latprof.profilers.visits.network_source import NetworkSource

    wanted = dict.fromkeys(
        [NOTHING, *chains, *(part for chain in chains for part in parts_of(chain))]
    )
    paths = {}
    for chain in wanted:
        paths[chain] = folder / f"{'-'.join(chain)}.onnx"
        onnx.save(chain_model(chain).model, paths[chain])
    sources = NetworkSource.of_models([*paths.values()])
    different = {source.subject.key: source for source in sources}
    keys = {chain: source.subject.key for chain, source in zip(paths, sources, strict=True)}
    return keys, Collection([*different.values()], None, {"fusion": len(chains)}, **how)


def _collected(
    collection: Collection,
    store: Store,
    timeout_s: float,
    on_progress: Callable[[Progress], None] | None,
) -> list[tuple[str, str]]:
    _, outcome = collection.run(
        store, on_progress=on_progress, timeout_s=timeout_s, repeat_fraction=0.0, ops=True
    )
    return [(name, failure.message) for name, failure in outcome.failures]


def _evidence(
    chains: Sequence[Chain],
    keys: dict[Chain, str],
    measured: TargetLabels,
    kernels: Mapping[str, Sequence[KernelTime]],
) -> tuple[ChainEvidence, ...]:
    from latprof.profilers.fusion_chains import NOTHING, chain_model, parts_of
    from latprof.profilers.fusion_evidence import ChainEvidence, ran_fused

    labels = measured.labels
    rows = labels[labels["label"] == 0]
    times = dict(zip(rows["subject"], rows["latency_ms"].tolist(), strict=True))
    nothing = times.get(keys[NOTHING], 0.0)
    found = []
    for chain in chains:
        each = [times.get(keys[part]) for part in (*parts_of(chain), chain)]
        if any(ms is None for ms in each):
            continue
        before, last, together = (max(float(ms or 0) - nothing, 0.0) for ms in each)
        name = chain_model(chain).operators[-1]
        told = ran_fused(kernels.get(keys[chain], ()), name)
        found.append(ChainEvidence(tuple(chain), before, last, together, told))
    if not found:
        raise NotEnoughDataError("no chain of operators could be timed on this target")
    return tuple(found)


def _agreements(
    networks: Collection | None,
    kernels: Mapping[str, Sequence[KernelTime]],
    rules: FusionRules,
    options: RunOptions,
) -> Iterator[NetworkAgreement]:
    """Each network of the zoo whose kernels are told, beside what the rules make of it."""
    from latprof.datasets.zoo.catalogue import build
    from latprof.datasets.zoo.variants import ZooVariant
    from latprof.graph.reader import read_network
    from latprof.graph.runtime_kernels.ruled_kernels import ruled_kernels
    from latprof.profilers.fusion_evidence import agreement

    for source in () if networks is None else networks.networks:
        ran = kernels.get(source.subject.key)
        if not ran or not any(kernel.operators for kernel in ran):
            continue
        variant = ZooVariant.parse(source.zoo)
        model = build(
            variant.name,
            resolution=variant.resolution,
            width=variant.width,
            batch_size=options.batch_size,
            weights=False,
        )
        yield agreement(source.zoo, ran, ruled_kernels(read_network(model), rules))
