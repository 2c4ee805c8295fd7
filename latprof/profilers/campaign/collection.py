"""Collections as a user asks for them: a space or model files, a target, a store."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from latprof.common.limits import whole
from latprof.common.short_reprs import ShortRepr
from latprof.datasets.zoo.catalogue import names as zoo_names
from latprof.datasets.zoo.variants import ZooVariant
from latprof.errors import (
    InvalidValueError,
    LatprofError,
    OwnCodeError,
    UnsupportedModelError,
    UsageError,
)
from latprof.measurement.across.revisions import NETWORKS, SOURCE, Revision
from latprof.measurement.records import PairedProtocol, Target
from latprof.profilers.base import RunOptions
from latprof.profilers.campaign.campaign import CampaignResult, Progress, collect
from latprof.profilers.campaign.plan import Plan
from latprof.profilers.host.checks import run_checks
from latprof.profilers.host.facts import host_facts
from latprof.profilers.host.git_revision import top_folder
from latprof.profilers.targets import check_formats, check_ready, profiler_class
from latprof.profilers.visits.measurers import measurers
from latprof.profilers.visits.measuring_process import (
    DEFAULT_TIMEOUT_S,
    check_timeout,
)
from latprof.profilers.visits.network_source import (
    NetworkSource,
    PathLike,
    check_batch_size_of_models,
    reference_network,
    with_distinct_names,
)

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import Architecture, SearchSpace
    from latprof.measurement.records import Subject
    from latprof.measurement.store.store import Store

_LABEL = re.compile(r"[\w.-]{0,63}")
#: Networks of one campaign; its plan is held in memory.
MAX_NETWORKS = 1_000_000


def _name_in(top: Path | None, network: NetworkSource) -> str:
    """A model's name with its folder in the repository at ``top``; empty where it is not in it."""
    if top is None or network.path is None or not network.path.is_relative_to(top):
        return ""
    folder = network.path.relative_to(top).parent
    return (PurePath(folder) / network.subject.name).as_posix()


def checked_label(label: str) -> str:
    """A host's label; raises InvalidValueError for what is none."""
    if not _LABEL.fullmatch(label):
        raise InvalidValueError(
            "not a host's label",
            field="host_label",
            expected="at most 63 letters, digits, dots, dashes or underscores",
            got=label,
        )
    return label


@dataclass(frozen=True, repr=False)
class Collection(ShortRepr):
    """Networks to be measured on one target, made by :meth:`of_space`, `of_zoo` or `of_models`.

    ``input_shape`` is that of every network (batch first), None where each model brings its own;
    ``source`` says what the networks are, for the store; ``reference_resolution`` is the height and
    width of the reference network's image; ``host_label`` names the host in the target.
    """

    networks: Sequence[NetworkSource]
    input_shape: tuple[int, ...] | None
    source: Mapping[str, Any]
    reference_resolution: int = 224
    target: str = "cpu:onnxruntime"
    options: RunOptions = field(default_factory=RunOptions)
    protocol: PairedProtocol = field(default_factory=PairedProtocol)
    host_label: str = ""

    @classmethod
    def of_space(
        cls, space: SearchSpace, n: int, *, seed: int = 0, options: RunOptions, **rest: Any
    ) -> Collection:
        """Sample ``n`` distinct architectures; the first m of n are those of m alone.

        Raises InvalidValueError for fewer than 1 or more than a campaign can hold.
        """
        whole(1, MAX_NETWORKS).check("n", n)
        source = {"n": n, "seed": seed}
        return cls.of_architectures(space, space.sample(n, seed), source, options=options, **rest)

    @classmethod
    def of_architectures(
        cls,
        space: SearchSpace,
        architectures: Sequence[Architecture],
        source: Mapping[str, Any],
        *,
        options: RunOptions,
        **rest: Any,
    ) -> Collection:
        """These architectures, all distinct; ``source`` says how they were chosen."""
        networks = [NetworkSource.of_architecture(space, a) for a in architectures]
        image = space.common_image_shape
        shape = None if image is None else (options.batch_size, *image)
        source = {"space": space.description, **source}
        resolution = space.reference_resolution
        return cls(networks, shape, source, resolution, options=options, **rest)

    @classmethod
    def of_zoo(
        cls,
        names: Sequence[str] = (),
        *,
        resolution: int | None = None,
        options: RunOptions,
        **rest: Any,
    ) -> Collection:
        """Networks of the zoo in the spelling of :class:`ZooVariant`; all where none is named.

        Raises UnknownNameError and InvalidValueError for those that it cannot build.
        """
        variants = [ZooVariant.parse(str(name), resolution) for name in names or zoo_names()]
        networks = [
            NetworkSource.of_zoo(each, options.batch_size) for each in dict.fromkeys(variants)
        ]
        return cls(
            networks, None, {"zoo": [str(each) for each in variants]}, options=options, **rest
        )

    @classmethod
    def of_models(
        cls,
        paths: Sequence[Path],
        *,
        shapes: Mapping[str | None, Sequence[int]] | None = None,
        inputs: Mapping[str, PathLike] | None = None,
        options: RunOptions,
        on_error: Callable[[Path, LatprofError], None] | None = None,
        **rest: Any,
    ) -> Collection:
        """The networks in ONNX files, as :meth:`NetworkSource.of_models` takes them.

        The plan has each with its path in the repository of the working folder, where it is in one,
        so that models of one name are not one in a history. Raises ModelFileError for the first
        that cannot be used, without ``on_error``.
        """
        check_batch_size_of_models(options.batch_size)
        networks: dict[Subject, NetworkSource] = {}
        names: dict[str, str] = {}
        top = top_folder()
        found = NetworkSource.of_models(paths, shapes, inputs, on_error)
        for network, named in zip(found, with_distinct_names(found), strict=True):
            networks.setdefault(named.subject, named)
            name = _name_in(top, network) or named.subject.name
            names[name] = named.subject.key
        source = {"models": [str(path) for path in paths], NETWORKS: names}
        return cls(list(networks.values()), None, source, options=options, **rest)

    def identity(self) -> Target:
        """The target's identity; raises UnsupportedModelError where it cannot be measured here."""
        check_ready(self.target)
        found = profiler_class(self.target)(self.options).target(self.input_shape)
        return dataclasses.replace(found, host=checked_label(self.host_label))

    def plan(
        self,
        *,
        repeat_fraction: float = 0.05,
        seed: int = 0,
        ops: bool = False,
        time_limit_s: float | None = None,
        shard: tuple[int, int] = (1, 1),
    ) -> Plan:
        """What :meth:`run` will do; raises InvalidValueError for what cannot be."""
        return Plan(
            self.networks,
            self.protocol,
            repeat_fraction=repeat_fraction,
            seed=seed,
            ops=ops,
            time_limit_s=time_limit_s,
            source=self.source,
            shard=shard,
        )

    def check_networks(self) -> None:
        """Raise UnsupportedModelError for files of a format that the target does not run.

        And OwnCodeError where a user's space cannot build the first network.
        """
        check_formats(self.target, [network.path for network in self.networks])
        for network in self.networks[:1]:
            try:
                network.handed_over(self.options.batch_size)
            except UnsupportedModelError as error:
                if isinstance(error.__cause__, OwnCodeError):
                    raise error.__cause__ from error
                raise

    def check_store(self, store: Store) -> None:
        """Raise UsageError for measurements of a user's space that was changed since."""
        spaces = {id(n.space): n.space for n in self.networks if n.space is not None}
        for space in spaces.values():
            for description in store.spaces() if space.source_digest else ():
                with store.reading("a search space"):
                    name = dict(json.loads(description)).get("name")
                if name == space.name and space.difference_from(description):
                    raise UsageError(
                        f"{store.location} holds measurements of another {space.name}: "
                        f"{space.difference_from(description)}",
                        field="space",
                        hint="keep each version of a space in a store of its own",
                    )

    def prepare(
        self, *, timeout_s: float = DEFAULT_TIMEOUT_S, **options: Any
    ) -> PreparedCollection:
        """Check all that can be refused before there is a store.

        Parameters
        ----------
        timeout_s : float
            Longest time for one visit.
        **options
            As of :meth:`plan`.

        Raises
        ------
        InvalidValueError
            For options or a timeout out of range.
        UnsupportedModelError
            Where the target cannot be measured here.
        """
        self.check_networks()
        target = self.identity()
        plan = self.plan(**options)
        check_timeout(timeout_s)
        return PreparedCollection(self, plan, target, timeout_s)

    def run(
        self,
        store: Store,
        *,
        on_progress: Callable[[Progress], None] | None = None,
        **options: Any,
    ) -> tuple[Target, CampaignResult]:
        """:meth:`prepare` with these options, and run."""
        return self.prepare(**options).run(store, on_progress=on_progress)


@dataclass(frozen=True, repr=False)
class PreparedCollection(ShortRepr):
    """A collection whose options were checked: what is measured, in which order, on what."""

    collection: Collection
    plan: Plan
    target: Target
    timeout_s: float

    def run(
        self,
        store: Store,
        *,
        revision: Revision | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> tuple[Target, CampaignResult]:
        """Measure what the store does not hold yet; see ``campaign.collect``.

        Parameters
        ----------
        store : Store
            Open for writing.
        revision : Revision, optional
            Of the sources that the networks come from, for the store.
        on_progress : callable, optional
            Called after every visit, and while the device has to be waited for.
        """
        asked = self.collection
        profiler = profiler_class(asked.target)(asked.options)
        name, reference = reference_network(asked.reference_resolution)
        host = profiler.surroundings() or {
            "facts": host_facts(),
            "checks": [dataclasses.asdict(c) for c in run_checks()],
        }
        if revision is not None and revision != Revision():
            host[SOURCE] = revision.to_dict()
        if profiler.caution:
            host["caution"] = profiler.caution
        show = _Shown(self.plan, on_progress or (lambda _progress: None))
        with measurers(
            asked.target,
            asked.options,
            reference,
            asked.protocol,
            timeout_s=self.timeout_s,
            ahead=True,
            on_wait=show.waiting,
        ) as make_measurer:
            result = collect(
                self.plan,
                store,
                self.target,
                name,
                make_measurer,
                host=host,
                on_progress=show.progress,
                networks_per_process=profiler.networks_per_process,
            )
        return self.target, result


class _Shown:
    """Says where a campaign stands: after each visit, and while its device has to wait."""

    def __init__(self, plan: Plan, on_progress: Callable[[Progress], None]) -> None:
        total = plan.total
        self._last = Progress(total, 0, 0, total, math.nan, 0.0, 0.0)
        self._on_progress = on_progress

    def progress(self, progress: Progress) -> None:
        """A visit was made."""
        self._last = progress
        self._on_progress(progress)

    def waiting(self, text: str) -> None:
        """The device has to be waited for."""
        self._on_progress(dataclasses.replace(self._last, waiting=text))
