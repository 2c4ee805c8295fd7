"""Search spaces of mixed precision: each block of another space in float32 or in 8-bit integers.

What is searched is which operators pay for their precision, as in HAQ (Wang et al., "HAQ:
Hardware-Aware Automated Quantization with Mixed Precision", CVPR 2019), per block and for two
precisions.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from latprof.datasets.spaces.base import Architecture, Part, SearchSpace
from latprof.errors import InvalidValueError

if TYPE_CHECKING:
    import torch

    from latprof.datasets.models.layers import Block
    from latprof.graph.operators import Network, Operator

_INT8 = "int8"
_QUANTIZED = frozenset({"QuantizeLinear", "DequantizeLinear"})


class MixedPrecisionSpace(SearchSpace):
    """Another space with its blocks in float32 or int8: candidates follow once more as int8.

    A decision with candidates ``a, b, Zero`` here has ``a, b, Zero, a_int8, b_int8``: those with
    convolutions come twice, so that no two architectures are the same network, and the first ones
    are the other space's own, at their indices. What no decision changes (stem, last convolution,
    classifier) stays in float32. Models are quantised with random inputs
    (:func:`latprof.graph.convert.quantization.to_int8`), which takes about a second a network.
    Targets are those of the float32 model; their runtimes need kernels for 8-bit integers.

    Keys, kinds of operators and features contain the dtype. The cost of converting between two
    blocks belongs to no block: additive predictors spread it over both.

    Parameters
    ----------
    base : SearchSpace, str or mapping, optional
        The other space, its name, or the name and options of its description; ProxylessNAS's unless
        given. Each of its parts is one decision, and all its decisions always matter.

    Raises
    ------
    InvalidValueError
        For a base that is not as described, or one of mixed precision itself.
    """

    name = "mixed-precision"

    def __init__(self, base: SearchSpace | str | Mapping[str, Any] | None = None) -> None:
        self.base = _made("proxyless" if base is None else base)
        parts = self.base.parts
        own = [part.decisions for part in parts] == [(d,) for d in range(len(parts))]
        free = self.base.num_architectures == math.prod(self.base.num_choices.tolist())
        if not own or not free or len(parts) != len(self.base.num_choices):
            raise InvalidValueError(
                f"the blocks of {self.base.name} depend on several decisions",
                field="base",
                expected="a space in which each decision is a block's own",
            )

    @property
    def options(self) -> Mapping[str, Any]:
        return {"base": {"name": self.base.name, "options": dict(self.base.options)}}

    @cached_property
    def is_found_by_name(self) -> bool:
        """Whether the other space is."""
        return self.base.is_found_by_name

    @cached_property
    def source_digest(self) -> str:
        """That of the other space."""
        return self.base.source_digest

    @cached_property
    def _quantizable(self) -> tuple[tuple[int, ...], ...]:
        """The candidates of each decision that hold convolutions."""
        return tuple(
            tuple(
                choice
                for choice in range(size)
                if any(
                    operator.op_type == "Conv"
                    for block in self.base.part_blocks(decision, (choice,))
                    for operator in block.operators()
                )
            )
            for decision, size in enumerate(self.base.num_choices.tolist())
        )

    @cached_property
    def candidates(self) -> tuple[tuple[str, ...], ...]:
        return tuple(
            (*names, *(f"{names[choice]}_{_INT8}" for choice in quantizable))
            for names, quantizable in zip(self.base.candidates, self._quantizable, strict=True)
        )

    @property
    def parts(self) -> tuple[Part, ...]:
        return self.base.parts

    def part_blocks(self, part: int, local_choices: tuple[int, ...]) -> tuple[Block, ...]:
        self.check_part(part, local_choices)
        choice, quantized = self._base_choice(part, local_choices[0])
        blocks = self.base.part_blocks(part, (choice,))
        return tuple(replace(b, precision=_INT8) for b in blocks) if quantized else blocks

    def _base_choice(self, decision: int, choice: int) -> tuple[int, bool]:
        """The other space's candidate, and whether it is in int8."""
        own = int(self.base.num_choices[decision])
        return (
            (choice, False) if choice < own else (self._quantizable[decision][choice - own], True)
        )

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.base.input_shape

    def image_shape(self, architecture: Architecture) -> tuple[int, ...]:
        return self.base.image_shape(self.base_architecture(architecture))

    @property
    def common_image_shape(self) -> tuple[int, ...] | None:
        return self.base.common_image_shape

    @property
    def reference_resolution(self) -> int:
        return self.base.reference_resolution

    def base_architecture(self, architecture: Architecture) -> Architecture:
        """The architecture of the other space, all in float32."""
        choices = self.choices([architecture])[0].tolist()
        floats = (self._base_choice(decision, choice)[0] for decision, choice in enumerate(choices))
        return Architecture(self.base.name, tuple(floats))

    def in_int8(self, architecture: Architecture) -> tuple[bool, ...]:
        """Whether each decision's blocks are in int8."""
        choices = self.choices([architecture])[0]
        return tuple((choices >= self.base.num_choices).tolist())

    def blocks(self, architecture: Architecture) -> tuple[Block, ...]:
        quantized = self.in_int8(architecture)
        return tuple(
            replace(block, precision=_INT8)
            if block.position is not None and quantized[block.position]
            else block
            for block in self.base.blocks(self.base_architecture(architecture))
        )

    def head(self, architecture: Architecture, batch_size: int = 1) -> tuple[Operator, ...]:
        return self.base.head(self.base_architecture(architecture), batch_size)

    def onnx_bytes(
        self,
        architecture: Architecture,
        *,
        batch_size: int = 1,
        seed: int = 0,
        batch_norm: Literal["folded", "kept"] = "folded",
        pruned: bool = False,
    ) -> bytes:
        """Build the other space's model and quantise the blocks that are in int8.

        Raises InvalidValueError for normalisation that is kept: 8-bit convolutions have it folded.
        """
        from latprof.graph.convert.quantization import to_int8

        content = self.base.onnx_bytes(
            self.base_architecture(architecture),
            batch_size=batch_size,
            seed=seed,
            batch_norm=batch_norm,
            pruned=pruned,
        )
        if not any(self.in_int8(architecture)):
            return content
        if batch_norm == "kept":
            raise InvalidValueError(
                "a quantised network has its normalisation folded",
                field="batch_norm",
                expected="folded",
                got=batch_norm,
            )
        return to_int8(content, seed, self._quantized_names(architecture, content))

    def _quantized_names(self, architecture: Architecture, content: bytes) -> list[str]:
        """Names of the model's nodes that are of blocks in int8: they begin with their block's."""
        import onnx

        precisions = {block.name: block.precision for block in self.blocks(architecture)}
        return [
            node.name
            for node in onnx.load_model_from_string(content).graph.node
            if precisions.get(_block_name(node.name, precisions)) == _INT8
        ]

    def build_torch(self, architecture: Architecture, *, seed: int = 0) -> torch.nn.Module:
        """Build the other space's torch module, all in float32."""
        return self.base.build_torch(self.base_architecture(architecture), seed=seed)

    def recognize(self, network: Network) -> Architecture | None:
        """The architecture without blocks in int8 that ``network`` is; None for what is quantised.

        See :meth:`SearchSpace.recognize`.
        """
        if any(operator.op_type in _QUANTIZED for operator in network.operators):
            return None
        found = self.base.recognize(network)
        return None if found is None else Architecture(self.name, found.choices)


def _made(base: SearchSpace | str | Mapping[str, Any]) -> SearchSpace:
    """The space that ``base`` stands for."""
    from latprof.datasets.spaces.named import get_space, space_from_description

    name = base.get("name") if isinstance(base, Mapping) else base
    if isinstance(base, MixedPrecisionSpace) or name == MixedPrecisionSpace.name:
        raise InvalidValueError("the base is of mixed precision itself", field="base")
    if isinstance(base, SearchSpace):
        return base
    if isinstance(base, str):
        return get_space(base)
    try:
        description = json.dumps({"options": {}, **base})
    except (TypeError, ValueError, RecursionError):
        raise InvalidValueError(
            "not a search space", field="base", expected="a name and options", got=str(base)[:80]
        ) from None
    return space_from_description(description)


def _block_name(node: str, blocks: Mapping[str, object]) -> str:
    """The longest block's name that ``node`` begins with, up to a point; empty for none."""
    name = node
    while name and name not in blocks:
        name = name.rpartition(".")[0]
    return name
