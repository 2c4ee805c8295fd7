"""Recurrent layers, scans and networks of sound: what works along time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from latprof.datasets.zoo.modules.drawn_layers import (
    Generator,
    conv_1d,
    elementwise,
    group_norm,
    mean_of_all,
    near,
    one,
    reduced,
    unary,
    word,
)

if TYPE_CHECKING:
    from latprof.datasets.zoo.graph_builder import NetworkValue
    from latprof.datasets.zoo.network_builder import NetworkBuilder

#: Multiply-accumulates of a recurrent layer, and elements of a sound.
_MOST_WORK, _MOST_SOUND = 1.5e8, 1 << 19
_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def recurrent(net: NetworkBuilder, generator: Generator) -> None:
    """Layers of one kind or several, each with its states, and dense layers between them."""
    batch = net.batch_size * one(generator, 1, 1, 1, 2, 4, 8)
    steps = near(generator, 4, 600)
    x = net.input("sequence", (batch, steps, near(generator, 16, 512, 8)))
    x = net.transpose(x, (1, 0, 2))
    ends = []
    for number in range(one(generator, 3, 4, 5)):
        with net.scope(f"layer{number}"):
            x, last = _layer(net, x, generator)
            ends.append(net.reshape(last, (batch, last.shape[0] * last.shape[2])))
        if generator.random() < 0.5:
            with net.scope(f"dense{number}"):
                x = net.linear(x, near(generator, 16, 512, 16), act=word(generator, "tanh", "relu"))
    first = [net.linear(end, one(generator, 1, 2, 10, 64), name="end") for end in ends]
    mean_of_all(net, x, *first)


def _layer(
    net: NetworkBuilder, x: NetworkValue, generator: Generator
) -> tuple[NetworkValue, NetworkValue]:
    """All states of a recurrent layer, its ways side by side, and the last ones."""
    kind = word(generator, "LSTM", "LSTM", "LSTM", "GRU", "GRU", "GRU", "RNN")
    ways, gates, (steps, batch, inputs) = one(generator, 1, 1, 2), _GATES[kind], x.shape
    hidden = near(generator, 16, 640, 16)
    while steps * batch * ways * gates * hidden * (hidden + inputs) > _MOST_WORK and hidden > 16:
        hidden = max(hidden // 2, 16)
    deviation = 1 / math.sqrt(hidden)
    parts: list[NetworkValue | None] = [
        net.weight(part, shape, deviation)
        for part, shape in (
            ("w", (ways, gates * hidden, inputs)),
            ("r", (ways, gates * hidden, hidden)),
            ("b", (ways, 2 * gates * hidden)),
        )
    ]
    state = (ways, batch, hidden)
    if generator.random() < 0.6:  # torch writes the first states out
        parts += [None, *[net.untrained("first", state, 0.0)] * (2 if kind == "LSTM" else 1)]
    shapes = [(steps, ways, batch, hidden), *[state] * (2 if kind == "LSTM" else 1)]
    given: dict[str, object] = {"hidden_size": hidden}
    if ways == 2 or generator.random() < 0.1:
        given["direction"] = "bidirectional" if ways == 2 else "reverse"
    if kind == "GRU" and generator.random() < 0.8:
        given["linear_before_reset"] = 1
    value, last, *_ = net.nodes(kind, [x, *parts], shapes, kind.lower(), **given)
    if ways == 2:
        value = net.transpose(value, (0, 2, 1, 3))
        return net.reshape(value, (steps, batch, 2 * hidden)), last
    axes = net.constant([1])
    return net.node("Squeeze", [value, axes], (steps, batch, hidden)), last


def cells(net: NetworkBuilder, generator: Generator) -> None:
    """Recurrent cells written out, step after step, as custom loops are exported."""
    batch, steps = net.batch_size * one(generator, 1, 1, 4), one(generator, 4, 8, 12, 16)
    inputs, hidden = near(generator, 16, 256, 8), near(generator, 16, 384, 8)
    x = net.input("sequence", (batch, steps, inputs))
    weights = [
        net.weight(name, (size, 4 * hidden), 1 / math.sqrt(size))
        for name, size in (("w", inputs), ("r", hidden))
    ]
    state = cell = net.untrained("first", (batch, hidden), 0.0)
    found = []
    for number in range(steps):
        with net.scope(f"step{number}"):
            at = net.constant(np.array(number, np.int64))
            now = net.node("Gather", [x, at], (batch, inputs), axis=1)
            both = net.add(net.matmul(now, weights[0]), net.matmul(state, weights[1]))
            i, f, g, o = net.split(both, (hidden,) * 4, 1)
            kept = net.mul(net.act(f, "sigmoid"), cell)
            cell = net.add(kept, net.mul(net.act(i, "sigmoid"), net.act(g, "tanh")))
            state = net.mul(net.act(o, "sigmoid"), net.act(cell, "tanh"))
            found.append(net.node("Unsqueeze", [state, net.constant([1])], (batch, 1, hidden)))
    mean_of_all(net, net.linear(net.concat(found, 1), one(generator, 10, 64, 256)))


def selective_scan(net: NetworkBuilder, generator: Generator) -> None:
    """A state-space layer (Gu and Dao 2023), its scan step after step."""
    batch, steps = net.batch_size, one(generator, 8, 12, 16, 24, 32)
    inner, states = near(generator, 32, 1536, 16), one(generator, 4, 8, 16, 16, 32)
    x = net.input("tokens", (batch, steps, max(inner // 2, 16)))
    x, gate = net.split(net.linear(net.rms_normalize(x), 2 * inner), (inner, inner), 2)
    x = net.transpose(x, (0, 2, 1))
    x = net.act(conv_1d(net, x, inner, one(generator, 3, 5), groups=inner), "swish")
    few = net.linear(net.transpose(x, (0, 2, 1)), 8 + 2 * states, bias=False)
    rank, b, c = net.split(few, (8, states, states), 2)
    step = unary(net, "Softplus", net.transpose(net.linear(rank, inner), (0, 2, 1)))
    wide = net.reshape(step, (batch, inner, steps, 1))
    decay = net.mul(wide, net.weight("a", (1, inner, 1, states), 0.3))
    decay = unary(net, "Exp", unary(net, "Neg", unary(net, "Abs", decay)))
    given = net.mul(wide, net.reshape(b, (batch, 1, steps, states)))
    given = net.mul(given, net.reshape(x, (batch, inner, steps, 1)))
    state, found = net.untrained("first", (batch, inner, states), 0.0), []
    product = generator.random() < 0.5
    for number in range(steps):
        with net.scope(f"step{number}"):
            at = net.constant(np.array(number, np.int64))
            one_decay, one_given = (
                net.node("Gather", [each, at], state.shape, axis=2) for each in (decay, given)
            )
            state = net.add(net.mul(one_decay, state), one_given)
            read = net.node("Gather", [c, at], (batch, states), axis=1)
            if product:
                out = net.matmul(state, net.reshape(read, (batch, states, 1)))
            else:
                out = net.mul(state, net.reshape(read, (batch, 1, states)))
                out = reduced(net, "ReduceSum", out, [-1])
            found.append(out)
    y = net.transpose(net.concat(found, 2), (0, 2, 1))
    mean_of_all(net, net.linear(net.mul(y, net.act(gate, "swish")), max(inner // 2, 16)))


def sound(net: NetworkBuilder, generator: Generator) -> None:
    """Convolutions of a waveform (Baevski et al. 2020) or of its spectrum."""
    spectrum = generator.random() < 0.5
    length, channels = (near(generator, 50, 1500), one(generator, 40, 64, 80, 128))
    if not spectrum:
        length, channels = near(generator, 2000, 32000), one(generator, 1, 1, 2)
    x = net.input("sound", (net.batch_size, channels, length))
    out = near(generator, 8, 128 if spectrum else 48, 8)
    for number in range(one(generator, 4, 5, 6, 7)):
        first = not number and not spectrum
        kernel = one(generator, 10, 16, 25) if first else one(generator, 1, 3, 3, 5, 7, 9, 15, 31)
        stride = one(generator, 4, 5, 8, 10) if first else one(generator, 1, 1, 2, 2, 3)
        dilation = one(generator, 1, 1, 2, 4, 8) if stride == 1 else 1
        if x.shape[2] <= dilation * kernel or math.prod(x.shape) > _MOST_SOUND:
            break
        with net.scope(f"layer{number}"):
            x = _sound_layer(net, x, out, (kernel, stride, dilation), generator)
        out = min(2 * out, 512) if generator.random() < 0.5 else out
    if generator.random() < 0.4:
        x = _upsampled(net, x, generator)
    x = net.transpose(x, (0, 2, 1))
    x = net.linear(net.layer_normalize(x), near(generator, 16, 512, 8))
    mean_of_all(net, x)


def _sound_layer(
    net: NetworkBuilder,
    x: NetworkValue,
    out: int,
    window: tuple[int, int, int],
    generator: Generator,
) -> NetworkValue:
    """A convolution: dense, separable, or with a gate (Dauphin et al. 2017)."""
    (kernel, stride, dilation), kind = window, int(generator.integers(5))
    if kind == 0:
        x = conv_1d(net, x, x.channels, kernel, stride=stride, groups=x.channels)
        x = conv_1d(net, x, out, 1)
    elif kind == 1:
        both = conv_1d(net, x, 2 * out, kernel, stride=stride, dilation=dilation)
        value, gate = net.split(both, (out, out), 1)
        first = net.act(value, "tanh") if generator.random() < 0.5 else value
        return net.mul(first, net.act(gate, "sigmoid"))
    else:
        padded = generator.random() < 0.6
        x = conv_1d(net, x, out, kernel, stride=stride, dilation=dilation, padded=padded)
    norm = int(generator.integers(4))
    if norm == 0:
        x = group_norm(net, x, x.channels)
    elif norm == 1:
        turned = net.layer_normalize(net.transpose(x, (0, 2, 1)))
        x = net.transpose(turned, (0, 2, 1))
    elif norm == 2:
        x = net.batch_normalize(x)
    act = word(generator, "relu", "gelu", "swish", "leaky_relu", "slopes")
    if act == "slopes":
        return net.node("PRelu", [x, net.weight("slope", (x.channels, 1))], x.shape)
    return net.act(x, act)


def _upsampled(net: NetworkBuilder, x: NetworkValue, generator: Generator) -> NetworkValue:
    """Transposed convolutions of one dimension, as vocoders have them."""
    for number in range(2):
        factor, out = one(generator, 2, 4, 8), max(x.channels // 2, 4)
        if math.prod(x.shape) * factor > _MOST_SOUND:
            break
        with net.scope(f"up{number}"):
            weight = net.weight("weight", (x.channels, out, 2 * factor), 0.05)
            pads = [factor // 2, factor - factor // 2]
            shape = (x.shape[0], out, x.shape[2] * factor)
            x = net.node(
                "ConvTranspose",
                [net.act(x, "leaky_relu"), weight, net.weight("bias", (out,))],
                shape,
                kernel_shape=[2 * factor],
                strides=[factor],
                pads=pads,
            )
    return x


def spectra(net: NetworkBuilder, generator: Generator) -> None:
    """Short-time Fourier transforms, mel bands and their logarithms (a front end of sound)."""
    length, hop = near(generator, 2000, 24000), one(generator, 80, 128, 160, 256)
    window = one(generator, 128, 256, 320, 400, 512)
    x = net.input("sound", (net.batch_size, length))
    frames, bins = (length - window) // hop + 1, window // 2 + 1
    given = [x, net.constant(np.array(hop, np.int64)), net.constant(np.hanning(window).astype("f"))]
    made = net.node("STFT", given, (net.batch_size, frames, bins, 2), onesided=1)
    if generator.random() < 0.5:
        power = reduced(net, "ReduceSumSquare", made, [-1], keep=False)
    else:
        parts = net.split(made, (1, 1), 3)
        real, other = (elementwise(net, "Pow", each, net.constant(2.0)) for each in parts)
        power = net.reshape(net.add(real, other), (net.batch_size, frames, bins))
    mels = net.matmul(power, net.weight("mels", (bins, one(generator, 40, 64, 80, 128)), 0.1))
    mels = net.node("Clip", [mels, net.constant(1e-5)], mels.shape)
    value = elementwise(net, "Div", unary(net, "Log", mels), net.constant(2.0))
    centred = elementwise(net, "Sub", value, reduced(net, "ReduceMean", value, [1]))
    value = net.transpose(centred, (0, 2, 1))
    value = net.act(conv_1d(net, value, near(generator, 16, 256, 8), 3, stride=2), "gelu")
    mean_of_all(net, conv_1d(net, value, value.channels, 3))
