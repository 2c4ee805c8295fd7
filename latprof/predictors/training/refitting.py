"""Refitting a kernel pack to kernels that were measured after it was made."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from latprof.predictors.kernels.configurations import Configurations
from latprof.predictors.kernels.graph_kernels import kernels_of
from latprof.predictors.kernels.refined_model import refined_model
from latprof.predictors.training.kernel_matching import times_of_kernels

if TYPE_CHECKING:
    from latprof.graph.operators import Network
    from latprof.measurement.labels import TargetLabels
    from latprof.measurement.records import Subject
    from latprof.predictors.pack.kernel_pack import KernelPack


def refit(
    pack: KernelPack, measured: TargetLabels, graph_of: Callable[[Subject], Network | None]
) -> KernelPack:
    """A pack that knows the kernels in a store of its target, too.

    Where store and pack share the reference network, times are in the pack's milliseconds: as far
    as this host's reference is from the pack's, so are its kernels.

    Parameters
    ----------
    pack : KernelPack
    measured : TargetLabels
        Of the pack's own target.
    graph_of : callable
        The graph of a network in the store; None where nobody knows it.
    """
    scale = 1.0
    if pack.reference_ms and pack.reference == measured.reference:
        scale = pack.reference_ms / measured.reference_ms
    parts = []
    for subject, profile in measured.kernel_profiles():
        graph = graph_of(subject)
        if graph is not None:
            kernels = kernels_of(graph, pack.target, pack.rules)
            timed = times_of_kernels(kernels, profile.kernels)
            parts += [timed] if timed is not None else []
    if not parts:
        return pack
    known = Configurations.joined([each.kernels for each in parts])
    latency = scale * np.concatenate([each.latency_ms for each in parts])
    ran = np.isfinite(latency)
    known, latency = known.rows(ran), latency[ran]
    model = dataclasses.replace(
        pack.model, kernels=refined_model(pack.model.kernels, known, latency)
    )
    return dataclasses.replace(pack, model=model, kernel_rows=pack.kernel_rows + len(known))
