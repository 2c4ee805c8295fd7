"""Steps on the tokens of a feature map: transformer and MLP layers, down-sampling by attention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from latprof.datasets.models.plans import GELU_GAIN, INPUT, StepPlan

if TYPE_CHECKING:
    from latprof.graph.operators import Operator

#: Variance of what is added to a layer's input under random weights: deep stages stay in scale.
_RESIDUAL_GAIN = 0.25
#: Features of an attention head, at least.
_HEAD_FEATURES = 32


def attention_heads(channels: int) -> int:
    """The most heads of at least 32 features each that divide the channels."""
    heads = max(1, channels // _HEAD_FEATURES)
    return next(number for number in range(heads, 0, -1) if channels % number == 0)


@dataclass(frozen=True)
class TokenLayer:
    """Tokens are mixed, then each has a feed-forward layer; both are added to their inputs.

    Layer normalisation comes before both. Tokens are mixed by self-attention (Dosovitskiy et al.
    2021) or by one dense layer over them (Touvron et al., ResMLP, 2021).

    Parameters
    ----------
    name : str
    mixer : {"attention", "mlp"}
    channels, hidden : int
        Features of a token, and between the two dense layers.
    size : int
        Height and width of the feature map.
    """

    name: str
    mixer: Literal["attention", "mlp"]
    channels: int
    hidden: int
    size: int

    def output_size(self, size: int) -> int:
        """The size stays."""
        return size

    def operators(self, size: int, batch_size: int = 1) -> tuple[Operator, ...]:  # noqa: ARG002
        """Of the plan; ``size`` is the step's own."""
        return self.plan(batch_size).operators()

    def plan(self, batch_size: int = 1) -> StepPlan:
        """The operators with their weights."""
        plan = StepPlan(self.name, (batch_size, self.channels, self.size, self.size))
        tokens = plan.tokens(INPUT, "tokens")
        value = plan.normalized(tokens, "norm1")
        if self.mixer == "attention":
            heads = attention_heads(self.channels)
            query = plan.linear(value, self.channels, "query")
            value = plan.attended(query, value, self.channels, heads, _RESIDUAL_GAIN)
        else:
            value = plan.mixed(value, self.size**2, "mix", _RESIDUAL_GAIN)
        tokens = plan.add(tokens, value, "add1")
        value = plan.linear(plan.normalized(tokens, "norm2"), self.hidden, "expand", GELU_GAIN)
        value = plan.linear(plan.gelu(value, "gelu"), self.channels, "project", _RESIDUAL_GAIN)
        plan.feature_map(plan.add(tokens, value, "add2"), self.size, "map")
        return plan


@dataclass(frozen=True)
class AttentionPool:
    """Down-sampling by attention: each new token attends to all tokens before.

    Parameters
    ----------
    name : str
    query : {"local-global", "global"}
        What a new token asks with: a depthwise 3x3 and a 1x1 convolution around its place, or a
        dense layer over all tokens.
    channels, out_channels : int
    size : int
        Height and width of the input.
    stride : int
    """

    name: str
    query: Literal["local-global", "global"]
    channels: int
    out_channels: int
    size: int
    stride: int

    def output_size(self, size: int) -> int:
        """Height (and width) of the output for an input of ``size``."""
        return -(-size // self.stride)

    def operators(self, size: int, batch_size: int = 1) -> tuple[Operator, ...]:  # noqa: ARG002
        """Of the plan; ``size`` is the step's own."""
        return self.plan(batch_size).operators()

    def plan(self, batch_size: int = 1) -> StepPlan:
        """The operators with their weights."""
        plan = StepPlan(self.name, (batch_size, self.channels, self.size, self.size))
        out = self.output_size(self.size)
        if self.query == "local-global":
            around = plan.convolution(
                INPUT, self.channels, "around", kernel=3, stride=self.stride, groups=self.channels
            )
            asked = plan.convolution(
                around, self.out_channels, "query", kernel=1, stride=1, groups=1
            )
            query = plan.tokens(asked, "query.tokens")
            source = plan.normalized(plan.tokens(INPUT, "tokens"), "norm")
        else:
            source = plan.normalized(plan.tokens(INPUT, "tokens"), "norm")
            query = plan.linear(plan.mixed(source, out**2, "mix"), self.out_channels, "query")
        query = plan.normalized(query, "query.norm")
        heads = attention_heads(self.out_channels)
        value = plan.attended(query, source, self.out_channels, heads)
        plan.feature_map(value, out, "map")
        return plan
