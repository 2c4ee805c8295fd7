"""Transformers on text: encoders (BERT) and decoders (GPT-2, LLaMA).

The resolution is the number of tokens. Decoders read a whole text at once and predict each token's
successor; no cache of keys and values is kept.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from latprof.datasets.zoo.entries import ZooNetwork

if TYPE_CHECKING:
    from latprof.datasets.zoo.graph_builder import NetworkValue
    from latprof.datasets.zoo.network_builder import NetworkBuilder


@dataclass(frozen=True)
class TextSpec:
    """A transformer on text.

    Parameters
    ----------
    features, hidden, layers, heads, words : int
        Of the tokens, of the feed-forward part, and the vocabulary.
    positions : int
        Learnt positions; more where a longer text asks for them. 0 for none.
    segments : int
        Rows of the table of segments; 0 for none.
    pooled : bool
        Whether an encoder ends with a dense layer on the first token.
    key_heads : int
        Heads of keys and values; 0 for as many as of queries.
    """

    features: int
    hidden: int
    layers: int
    heads: int
    words: int
    positions: int = 512
    segments: int = 0
    pooled: bool = False
    key_heads: int = 0


def _scaled(net: NetworkBuilder, spec: TextSpec) -> TextSpec:
    """The specification at the network's width: other numbers of heads of the same size."""
    if net.width == 1.0:
        return spec
    shared = spec.heads // (spec.key_heads or spec.heads)
    keys = max(1, round((spec.key_heads or spec.heads) * net.width))
    heads = keys * shared
    return replace(
        spec,
        features=spec.features // spec.heads * heads,
        hidden=net.wide(spec.hidden),
        heads=heads,
        key_heads=keys if spec.key_heads else 0,
    )


def bert(net: NetworkBuilder, spec: TextSpec) -> None:
    """Devlin et al. (2019): inputs are words, a mask of 0 and 1, and segments."""
    spec = _scaled(net, spec)
    text = (net.batch_size, net.resolution)
    words = net.input("input_ids", text, whole=True)
    mask = net.input("attention_mask", text, whole=True)
    with net.scope("embeddings"):
        x = _embedded(net, words, spec.words, spec.features, "words")
        if spec.segments:
            kinds = net.input("token_type_ids", text, whole=True)
            x = net.add(x, _embedded(net, kinds, spec.segments, spec.features, "segments"))
        x = net.add(x, _positions(net, spec))
        x = net.layer_normalize(x, epsilon=1e-12)
    bias = _mask_bias(net, mask)
    for index in range(spec.layers):
        with net.scope(f"layer{index}"):
            q, k, v = (
                net.heads(net.linear(x, spec.features, name=name), spec.heads, f"{name}.heads")
                for name in "qkv"
            )
            mixed = net.joined(net.attend(q, k, v, bias=bias))
            mixed = net.linear(mixed, spec.features, name="project")
            x = net.layer_normalize(net.add(mixed, x), "norm1", 1e-12)
            x = net.layer_normalize(net.add(net.mlp(x, spec.hidden), x), "norm2", 1e-12)
    if spec.pooled:
        first = net.reshape(net.slice(x, 0, 1, 1), (net.batch_size, spec.features), "first")
        pooled = net.linear(first, spec.features, act="tanh", name="pooler")
        net.output(pooled, "pooled")
    net.output(x)


def _embedded(
    net: NetworkBuilder, ids: NetworkValue, rows: int, features: int, name: str
) -> NetworkValue:
    table = net.weight(f"{name}.weight", (rows, features), 1.0)
    return net.node("Gather", [table, ids], (*ids.shape, features), name, axis=0)


def _positions(net: NetworkBuilder, spec: TextSpec) -> NetworkValue:
    """A learnt row for each token, out of a table that may be longer."""
    rows = max(spec.positions, net.resolution)
    shape = (1, net.resolution, spec.features)
    return net.learnt_table("positions", shape, rows * spec.features)


def _mask_bias(net: NetworkBuilder, mask: NetworkValue) -> NetworkValue:
    """A large negative number where the mask is 0, for all heads and queries."""
    shape = (mask.shape[0], 1, 1, mask.shape[1])
    value = net.reshape(mask, shape, "mask.shape")
    value = net.node("Cast", [value], shape, "mask.float", to=1)
    value = net.node("Sub", [net.constant(1.0), value], shape, "mask.hidden")
    return net.mul(value, net.constant(-1e9), "mask.bias")


def _causal_bias(net: NetworkBuilder) -> NetworkValue:
    """A large negative number for what comes later."""
    tokens = net.resolution
    return net.constant(np.triu(np.full((1, 1, tokens, tokens), -1e9, np.float32), 1))


def _next_words(net: NetworkBuilder, x: NetworkValue, table: NetworkValue) -> None:
    """The output: products with the table of words, which is read twice."""
    net.output(net.matmul(x, net.transpose(table, (1, 0), "words.columns"), "logits"))


def gpt2(net: NetworkBuilder, spec: TextSpec) -> None:
    """Radford et al. (2019)."""
    spec = _scaled(net, spec)
    ids = net.input("input_ids", (net.batch_size, net.resolution), whole=True)
    table = net.weight("words.weight", (spec.words, spec.features), 0.1)
    x = net.node("Gather", [table, ids], (*ids.shape, spec.features), "words", axis=0)
    x = net.add(x, _positions(net, spec))
    bias = _causal_bias(net)
    for index in range(spec.layers):
        with net.scope(f"layer{index}"):
            inner = net.layer_normalize(x, "norm1", 1e-5)
            x = net.add(net.self_attention(inner, spec.heads, bias=bias), x)
            x = net.add(x, net.mlp(net.layer_normalize(x, "norm2", 1e-5), spec.hidden, "gelu_tanh"))
    _next_words(net, net.layer_normalize(x, epsilon=1e-5), table)


def llama(net: NetworkBuilder, spec: TextSpec) -> None:
    """Touvron et al. (2023): rotary positions, gated feed-forward parts, shared keys and values."""
    spec = _scaled(net, spec)
    ids = net.input("input_ids", (net.batch_size, net.resolution), whole=True)
    table = net.weight("words.weight", (spec.words, spec.features), 0.1)
    x = net.node("Gather", [table, ids], (*ids.shape, spec.features), "words", axis=0)
    bias, size = _causal_bias(net), spec.features // spec.heads
    turns = _rotations(net, size)
    keys = spec.key_heads or spec.heads
    dense = partial(net.linear, bias=False)
    for index in range(spec.layers):
        with net.scope(f"layer{index}"):
            inner = net.rms_normalize(x, "norm1")
            q = net.heads(dense(inner, spec.features, name="q"), spec.heads, "q.heads")
            k = net.heads(dense(inner, keys * size, name="k"), keys, "k.heads")
            v = net.heads(dense(inner, keys * size, name="v"), keys, "v.heads")
            q, k = _rotated(net, q, turns), _rotated(net, k, turns)
            k, v = (_repeated(net, each, spec.heads // keys) for each in (k, v))
            mixed = net.joined(net.attend(q, k, v, bias=bias))
            x = net.add(x, dense(mixed, spec.features, name="project"))
            inner = net.rms_normalize(x, "norm2")
            gate = dense(inner, spec.hidden, act="swish", name="gate")
            inner = net.mul(gate, dense(inner, spec.hidden, name="up"))
            x = net.add(x, dense(inner, spec.features, name="down"))
    _next_words(net, net.rms_normalize(x), table)


def _rotations(net: NetworkBuilder, size: int) -> tuple[NetworkValue, NetworkValue]:
    """Cosines and sines of each token's angles, shape (1, 1, tokens, size)."""
    speeds = 10000.0 ** (-np.arange(0, size, 2) / size)
    angles = np.arange(net.resolution)[:, None] * np.concatenate([speeds, speeds])
    cosines, sines = (f(angles)[None, None].astype(np.float32) for f in (np.cos, np.sin))
    return net.constant(cosines), net.constant(sines)


def _rotated(
    net: NetworkBuilder, x: NetworkValue, turns: tuple[NetworkValue, NetworkValue]
) -> NetworkValue:
    half = x.shape[-1] // 2
    first, second = net.slice(x, 0, half, 3), net.slice(x, half, 2 * half, 3)
    turned = net.concat([net.node("Neg", [second], second.shape, "turn"), first], 3)
    return net.add(net.mul(x, turns[0]), net.mul(turned, turns[1]))


def _repeated(net: NetworkBuilder, x: NetworkValue, times: int) -> NetworkValue:
    """Each head as often as queries share it."""
    if times == 1:
        return x
    batch, heads, *rest = x.shape
    shape = (batch, heads, times, *rest)
    value = net.reshape(x, (batch, heads, 1, *rest), "share.one")
    value = net.node("Expand", [value, net.constant(shape)], shape, "share")
    return net.reshape(value, (batch, heads * times, *rest), "share.all")


def _bert(layers: int, features: int) -> TextSpec:
    return TextSpec(features, 4 * features, layers, features // 64, 30522, segments=2, pooled=True)


_DISTILBERT = TextSpec(768, 3072, 6, 12, 30522)
_DISTILGPT2 = TextSpec(768, 3072, 6, 12, 50257, positions=1024)
_LLAMA = TextSpec(288, 768, 6, 6, 32000, positions=0)
_SMOLLM = TextSpec(576, 1536, 30, 9, 49152, positions=0, key_heads=3)


def _encoder(name: str, spec: TextSpec, counts: tuple[int, int], source: str) -> ZooNetwork:
    return ZooNetwork(name, "bert", partial(bert, spec=spec), 128, *counts, source, tokens=True)


# fmt: off
NETWORKS = (
    _encoder("bert-tiny", _bert(2, 128), (4385920, 58736640), "transformers BertModel"),
    _encoder("bert-mini", _bert(4, 256), (11170560, 436273152), "transformers BertModel"),
    _encoder("bert-small", _bert(4, 512), (28763648, 1677983744), "transformers BertModel"),
    _encoder("bert-base", _bert(12, 768), (109482240, 11174215680), "transformers BertModel"),
    _encoder("distilbert", _DISTILBERT, (66362880, 5586812928), "transformers DistilBertModel"),
    ZooNetwork("distilgpt2", "gpt2", partial(gpt2, spec=_DISTILGPT2), 64, 81912576, 5225889792, "transformers GPT2LMHeadModel", tokens=True),
    ZooNetwork("llama-15m", "llama", partial(llama, spec=_LLAMA), 256, 15191712, 4114612224, "transformers LlamaForCausalLM", tokens=True),
    ZooNetwork("smollm-135m", "llama", partial(llama, spec=_SMOLLM), 64, 134515008, 8748269568, "transformers LlamaForCausalLM", tokens=True),
)
# fmt: on
