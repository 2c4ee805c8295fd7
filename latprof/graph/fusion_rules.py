"""How a runtime fuses, as rules in a file: which operators join the kernel before them.

An operator stands in rules by its type, with a word more where the type does not say what happens:
``"Mul constant"`` has one value and a constant, ``"Mul broadcast"`` two values of different shapes,
``"Transpose 0231"`` moves the channels last,
``"Add kept"`` reads a value beside the kernel's that is read again later: it cannot be overwritten.
A kernel whose result only this operator reads goes into the kernel that the operator joins where a
chain says so that has the word ``"into"`` before the operator.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
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
_MOST_BYTES, MOST_CHAINED, _MOST_RULES = 1 << 20, 8, 10_000
#: A convolution with one input channel a group is an operator of its own in rules.
DEPTHWISE = "DepthwiseConv"
#: Folded into the weights of a convolution, so that it does not count in a chain.
FOLDED = "BatchNormalization"
#: Before the operator of a chain that may run in the kernel of its reader.
INTO = "into"
#: What only renames a shape.
VIEWS = frozenset({"Flatten", "Reshape", "Squeeze", "Unsqueeze"})
_BINARY = frozenset({"Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", "PRelu"})


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
    absent : frozenset of str
        Operators that run no kernel: views, unless the runtime copies.
    patterns : frozenset of str
        Which of :data:`latprof.graph.runtime_kernels.ruled_kernels.PATTERNS` run as one kernel.
    first_input : bool
        Whether of several kernels the one is joined whose result is read first, or the last.
    """

    chains: Mapping[tuple[str, ...], bool]
    target: Mapping[str, Any] = field(default_factory=dict)
    absent: frozenset[str] = VIEWS
    patterns: frozenset[str] = frozenset()
    first_input: bool = False

    def joins(
        self,
        before: Operator,  # noqa: ARG002 - others look at it
        chain: Sequence[str],
        operator: Operator,  # noqa: ARG002 - others look at it
        word: str,
    ) -> bool:
        """Whether an operator, by its word, joins the kernel ``before`` it of such a chain.

        A chain that the rules do not have is judged without what was folded, then by its first and
        its last operator.
        """
        ways = (self.chains.get(way) for way in _ways(chain, word))
        return next((fused for fused in ways if fused is not None), False)

    def to_dict(self) -> dict[str, Any]:
        """Return the rules as plain JSON values."""
        values: dict[str, Any] = {
            "format_version": FORMAT_VERSION,
            "target": dict(self.target),
            "rules": [
                {"operators": list(chain), "fused": fused}
                for chain, fused in sorted(self.chains.items())
            ],
        }
        if self.absent != VIEWS:
            values["absent"] = sorted(self.absent)
        if self.patterns:
            values["patterns"] = sorted(self.patterns)
        if self.first_input:
            values["first_input"] = True
        return values

    @classmethod
    def of_fields(cls, fields: Fields) -> FusionRules:
        """Rebuild rules from :meth:`to_dict`; raises the fields' error for anything else."""
        if fields.integer("format_version", 1) > FORMAT_VERSION:
            fields.wrong("format_version", f"at most {FORMAT_VERSION}: update latprof")
        chains = dict(map(_rule, fields.objects("rules", _MOST_RULES)))
        absent = frozenset(fields.texts("absent")) if "absent" in fields.values else VIEWS
        patterns = fields.texts("patterns") if "patterns" in fields.values else ()
        first = fields.values.get("first_input") is True
        return cls(chains, fields.fields("target").values, absent, frozenset(patterns), first)

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
        return cls.of_fields(fields)


@cache
def bundled_rules(runtime: str) -> FusionRules | None:
    """The rules of a runtime on x86 processors that come with latprof; None where none do."""
    path = Path(__file__).with_name("rules") / f"{runtime}.json"
    return FusionRules.load(path) if path.is_file() else None


def rule_kind(operator: Operator) -> str:
    """The word by which rules know an operator."""
    depthwise = operator.groups > 1 and operator.weight_shape[1:2] == (1,)
    if operator.op_type == "Conv" and depthwise:
        return DEPTHWISE
    if operator.op_type == "Transpose":
        return f"Transpose {''.join(map(str, operator.attributes.get('perm', ())))}".strip()
    if operator.op_type in _BINARY:
        different = len(set(operator.input_shapes)) > 1
        more = "broadcast" if different else "constant" if operator.weight_shapes else ""
        return f"{operator.op_type} {more}".strip()
    return operator.op_type


def chain_ends(chain: Sequence[str], word: str) -> tuple[str, ...]:
    """A chain by its first operator, its last one, and the word of what may join."""
    return (chain[0], *chain[1:][-1:], word)


def needed_chains(chains: Mapping[tuple[str, ...], bool]) -> dict[tuple[str, ...], bool]:
    """The chains without those that are not fused for want of a rule, too."""
    fused = {chain for chain, is_fused in chains.items() if is_fused}
    return {
        chain: chain in fused
        for chain in chains
        if not fused.isdisjoint(_ways(chain[:-1], chain[-1]))
    }


def _ways(chain: Sequence[str], word: str) -> Iterator[tuple[str, ...]]:
    """The chains that may stand for one, the nearest first; words without their addition last."""
    for words in ((*chain, word), tuple(each.split()[0] for each in (*chain, word))):
        yield words
        yield (words[0], *(each for each in words[1:-1] if each != FOLDED), words[-1])
        yield chain_ends(words[:-1], words[-1])


def _rule(fields: Fields) -> tuple[tuple[str, ...], bool]:
    chain, fused = fields.texts("operators"), fields.values.get("fused")
    if not 2 <= len(chain) <= MOST_CHAINED or not isinstance(fused, bool):
        fields.wrong("fused", f"true or false for 2 to {MOST_CHAINED} operators")
    return chain, bool(fused)
