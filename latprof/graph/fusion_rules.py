"""How a runtime fuses, as rules in a file: which operators join the kernel before them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latprof.common.checked_json import Fields, to_json
from latprof.common.files import what_is_at, write_atomically
from latprof.common.short_reprs import ShortRepr
from latprof.errors import DataSetError, PackError

if TYPE_CHECKING:
    import os

    from latprof.graph.operators import Operator

FORMAT_VERSION = 1
#: Bytes of a file, operators of a chain, and rules.
_MOST_BYTES, _MOST_OPERATORS, _MOST_RULES = 1 << 20, 8, 10_000
#: A convolution with one input channel a group is an operator of its own in rules.
DEPTHWISE = "DepthwiseConv"
#: Folded into the weights of a convolution, so that it does not count in a chain.
FOLDED = "BatchNormalization"


@dataclass(frozen=True, repr=False)
class FusionRules(ShortRepr):
    """Which chains of operators a runtime runs as one kernel.

    Parameters
    ----------
    chains : mapping of tuple of str to bool
        Operator types in order, such as ``("Conv", "Add", "Relu")``, and whether the last one joins
        the kernel of those before it.
    target : mapping
        Of what they were learnt, as plain JSON values; empty where that is not known.
    """

    chains: Mapping[tuple[str, ...], bool]
    target: Mapping[str, Any] = field(default_factory=dict)

    def join(self, first: Operator, applied: Sequence[str], op_type: str) -> bool:
        """Whether an operator joins a kernel, given the types that have joined it before.

        A chain that the rules do not have is judged by its beginning, without what was folded.
        """
        before = tuple(each for each in applied if each != FOLDED)
        kind = rule_kind(first)
        exact = self.chains.get((kind, *applied, op_type))
        if exact is not None:
            return exact
        return self.chains.get((kind, *before, op_type), False)

    def to_dict(self) -> dict[str, Any]:
        """Return the rules as plain JSON values."""
        return {
            "format_version": FORMAT_VERSION,
            "target": dict(self.target),
            "rules": [
                {"operators": list(chain), "fused": fused}
                for chain, fused in sorted(self.chains.items())
            ],
        }

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the rules as JSON in one step; raises OutputPathError, DiskFullError."""
        return write_atomically(path, to_json(self.to_dict()))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> FusionRules:
        """Read rules; raises DataSetError for a file that holds none."""
        place = Path(path)
        if what_is_at(place) == "special":
            raise DataSetError(f"{place} is a device or a pipe", field="path", expected="a file")
        try:
            with place.open("rb") as file:
                content = file.read(_MOST_BYTES + 1)
        except (OSError, ValueError) as error:  # ValueError: a null character in the path
            reason = getattr(error, "strerror", None) or error
            raise DataSetError(f"cannot read {path!r}: {reason}", field="path") from None
        if len(content) > _MOST_BYTES:
            raise DataSetError(f"{place} is too large for rules of fusion", field="path")
        try:
            fields = dataclasses.replace(Fields.of_json(str(place), content), error=DataSetError)
        except PackError as error:
            raise DataSetError(str(error), field="path") from None
        if fields.integer("format_version", 1) > FORMAT_VERSION:
            fields.wrong("format_version", f"at most {FORMAT_VERSION}: update latprof")
        rules = dict(map(_rule, fields.objects("rules", _MOST_RULES)))
        return cls(rules, fields.fields("target").values)


@cache
def bundled_rules(runtime: str) -> FusionRules | None:
    """The rules of a runtime on x86 processors that come with latprof; None where none do."""
    path = Path(__file__).with_name("rules") / f"{runtime}.json"
    return FusionRules.load(path) if path.is_file() else None


def rule_kind(operator: Operator) -> str:
    """The operator type by which rules know an operator."""
    depthwise = operator.groups > 1 and operator.weight_shape[1:2] == (1,)
    return DEPTHWISE if operator.op_type == "Conv" and depthwise else operator.op_type


def _rule(fields: Fields) -> tuple[tuple[str, ...], bool]:
    chain, fused = fields.texts("operators"), fields.values.get("fused")
    if not 2 <= len(chain) <= _MOST_OPERATORS or not isinstance(fused, bool):
        fields.wrong("fused", f"true or false for 2 to {_MOST_OPERATORS} operators")
    return chain, bool(fused)
