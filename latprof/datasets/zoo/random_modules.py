"""Random networks of the modules that exported networks have, for measuring kernels.

:mod:`~latprof.datasets.zoo.random_operators` draws single operators; here are the modules in which
exporters leave them, at the sizes where networks are: recurrent layers, messages along edges,
caches of keys and values, large images, detection, attention of every form.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from latprof.common.limits import check_seed
from latprof.datasets.zoo.modules import (
    attention_modules,
    image_modules,
    lookup_modules,
    seldom_modules,
    sequence_modules,
    window_modules,
)
from latprof.datasets.zoo.network_builder import NetworkBuilder

if TYPE_CHECKING:
    from latprof.datasets.zoo.modules.drawn_layers import Drawing

#: What is drawn, one seed after the other, so that few seeds have all.
DRAWN: tuple[Drawing, ...] = (
    sequence_modules.recurrent,
    lookup_modules.graph,
    image_modules.large_images,
    attention_modules.attentions,
    lookup_modules.scatters,
    window_modules.odd_windows,
    attention_modules.norms,
    sequence_modules.sound,
    image_modules.super_resolution,
    lookup_modules.points,
    attention_modules.attentions,
    image_modules.diffusion,
    lookup_modules.experts,
    sequence_modules.selective_scan,
    image_modules.detector,
    lookup_modules.cached,
    attention_modules.norms,
    seldom_modules.seldom,
    sequence_modules.recurrent,
    attention_modules.optimized,
    image_modules.channels_last,
    lookup_modules.tables,
    window_modules.odd_windows,
    attention_modules.later,
    image_modules.segments,
    sequence_modules.cells,
    lookup_modules.scatters,
    attention_modules.standardized,
    sequence_modules.spectra,
    seldom_modules.seldom,
    window_modules.volumes,
)


def random_modules(seed: int, *, batch_size: int = 1) -> NetworkBuilder:
    """The network of a seed: the same in every version of NumPy's generators."""
    generator = np.random.default_rng([check_seed(seed), 4])
    net = NetworkBuilder(f"random modules {seed}", resolution=8, batch_size=batch_size)
    DRAWN[seed % len(DRAWN)](net, generator)
    return net
