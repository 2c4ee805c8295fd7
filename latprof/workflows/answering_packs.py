"""Which of the packs that come with latprof answers for which model."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from latprof.common.short_reprs import ShortRepr
from latprof.predictors.pack.comparing_models import batch_size_of
from latprof.predictors.pack.grown_pack import grown_pack
from latprof.predictors.pack.kernel_pack import KernelPack, load_any_pack
from latprof.predictors.pack.saving import read_facts
from latprof.predictors.pack.shipped import kernel_pack_names

if TYPE_CHECKING:
    from latprof.graph.operators import Network
    from latprof.measurement.records import Target
    from latprof.predictors.pack.pack import Pack

#: Operators that compute in float32 with weights of few bits.
_FEW_BITS = frozenset({"MatMulBnb4", "MatMulNBits"})


@dataclass(frozen=True, eq=False, repr=False)
class Answering(ShortRepr):
    """What answers: a pack of a search space, a pack of kernels, or both.

    Spelled architectures are the search space's. Models are the kernels' where there are any; with
    ``members_first`` those of the search space are the space's. Where ``kernels`` came with latprof
    and was not asked for, ``opened`` are those for models of other number formats and batch sizes,
    by name, as far as they were needed; else None.
    """

    space: Pack | None
    kernels: KernelPack | None
    members_first: bool = False
    opened: dict[str, KernelPack] | None = None

    def name_for(self, network: Network) -> str:
        """Which of the packs that come with latprof answers for a model; empty for ``kernels``."""
        if self.kernels is None or self.opened is None:
            return ""
        own = self.kernels.target
        precision = "int8" if _is_quantized(network) else own.precision
        batch_size = batch_size_of(network) or own.batch_size
        wanted = replace(own, precision=precision, batch_size=batch_size)
        name = "" if wanted == own else _nearest(wanted)
        return "" if not name or read_facts(name).target == own else name

    def kernels_for(self, network: Network) -> KernelPack | None:
        """The kernels that answer for a model: those measured in its format, with its batch."""
        name = self.name_for(network)
        if not name or self.opened is None:
            return self.kernels
        if name not in self.opened:
            self.opened[name] = grown_pack(bundled_kernels(name))
        return self.opened[name]


def bundled_kernels(name: str) -> KernelPack:
    """A pack of kernels that comes with latprof."""
    found = load_any_pack(name)
    assert isinstance(found, KernelPack)
    return found


def kernels_of_target(target: Target | None) -> KernelPack | None:
    """The bundled kernels of a search space pack's target, whatever its input and batch."""
    name = "" if target is None else _nearest(replace(target, input_shape=None))
    found = bundled_kernels(name) if name else None
    alike = found is not None and target is not None and found.target.precision == target.precision
    return found if alike else None


def _is_quantized(network: Network) -> bool:
    return any(op.precision == "int8" or op.op_type in _FEW_BITS for op in network.operators)


def _nearest(wanted: Target) -> str:
    """The bundled kernels of a target, or of the same with another batch size or number format.

    Empty where there are none.
    """
    targets = {name: read_facts(name).target for name in kernel_pack_names()}
    alike = {
        name: found
        for name, found in targets.items()
        if found
        and replace(wanted, batch_size=found.batch_size, precision=found.precision) == found
    }

    def distance(name: str) -> tuple[bool, bool, float]:
        found = alike[name]
        several = (found.batch_size > 1) != (wanted.batch_size > 1)
        apart = abs(math.log(found.batch_size / wanted.batch_size))
        return found.precision != wanted.precision, several, apart

    return min(alike, key=distance, default="")
