"""Networks as people write and export them, small: what each has that others lack is in its name.

Nothing heavy is imported before one is built.
"""

# mypy: ignore-errors
# (torch has no types that hold here, and NumPy scalars are called with lists)
from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

#: By name: builds a torch module in evaluation mode and its example inputs.
MODULES: dict[str, Callable[[], tuple[Any, tuple[Any, ...]]]] = {}


def named(name: str) -> Callable[..., Any]:
    """Keep what builds a network under a name."""

    def keep(build: Callable[[], tuple[Any, tuple[Any, ...]]]) -> Any:
        MODULES[name] = build
        return build

    return keep


def conv(inputs: int, outputs: int, size: int = 3, **options: Any) -> Any:
    """A convolution with batch normalisation and ReLU, padded to its input's size."""
    from torch import nn

    options.setdefault("padding", size // 2)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, **options), nn.BatchNorm2d(outputs), nn.ReLU()
    )


@named("unet-transposed")
def _unet() -> Any:
    import torch
    from torch import nn

    class UNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            sizes = (3, 16, 32, 64, 128)
            self.down = nn.ModuleList(
                nn.Sequential(conv(a, b), conv(b, b)) for a, b in itertools.pairwise(sizes)
            )
            self.up = nn.ModuleList(
                nn.ConvTranspose2d(b, a, 2, 2) for a, b in itertools.pairwise(sizes[1:])
            )
            self.join = nn.ModuleList(conv(2 * a, a) for a in sizes[1:-1])
            self.head = nn.Conv2d(16, 2, 1)

        def forward(self, x: Any) -> Any:
            kept = []
            for stage in self.down:
                x = stage(x if not kept else nn.functional.max_pool2d(x, 2))
                kept.append(x)
            for i in reversed(range(3)):
                x = self.join[i](torch.cat([self.up[i](x), kept[i]], 1))
            return self.head(x)

    return UNet().eval(), (torch.randn(1, 3, 128, 128),)


@named("segmenter-bilinear")
def _segmenter() -> Any:
    import torch
    from torch import nn

    class Segmenter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Sequential(
                conv(3, 32, stride=2), conv(32, 64, stride=2), conv(64, 96, stride=2)
            )
            self.pool = nn.ModuleList(nn.Conv2d(96, 32, 1) for _ in range(4))
            self.head = nn.Conv2d(96 + 128, 19, 3, padding=1)

        def forward(self, x: Any) -> Any:
            y = self.stem(x)
            parts = [y]
            for bins, conv in zip((1, 2, 3, 6), self.pool, strict=True):
                small = nn.functional.adaptive_avg_pool2d(y, bins if 24 % bins == 0 else 1)
                parts.append(
                    nn.functional.interpolate(conv(small), size=y.shape[2:], mode="bilinear")
                )
            return nn.functional.interpolate(
                self.head(torch.cat(parts, 1)), scale_factor=8, mode="bilinear"
            )

    return Segmenter().eval(), (torch.randn(1, 3, 192, 192),)


@named("gru-tagger")
def _gru() -> Any:
    import torch
    from torch import nn

    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(2000, 96)
            self.gru = nn.GRU(96, 128, 2, bidirectional=True, batch_first=True)
            self.head = nn.Linear(256, 20)

        def forward(self, ids: Any) -> Any:
            return self.head(self.gru(self.table(ids))[0])

    return Tagger().eval(), (torch.randint(0, 2000, (1, 64)),)


@named("lstm-vad")
def _lstm() -> Any:
    import torch
    from torch import nn

    class Detector(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.front = nn.Sequential(
                nn.Conv1d(1, 64, 16, 8), nn.ReLU(), nn.Conv1d(64, 64, 5, 2), nn.ReLU()
            )
            self.lstm = nn.LSTM(64, 128, batch_first=True)
            self.head = nn.Linear(128, 1)

        def forward(self, x: Any) -> Any:
            y, _ = self.lstm(self.front(x).transpose(1, 2))
            return torch.sigmoid(self.head(y))

    return Detector().eval(), (torch.randn(1, 1, 4000),)


@named("selective-scan")
def _mamba() -> Any:
    import torch
    from torch import nn

    class Scan(nn.Module):
        """A block of a state space model: its scan is written out step by step."""

        def __init__(self, size: int = 64, state: int = 8) -> None:
            super().__init__()
            self.inner, self.state = 2 * size, state
            self.norm = nn.LayerNorm(size)
            self.enter = nn.Linear(size, 2 * self.inner)
            self.conv = nn.Conv1d(self.inner, self.inner, 4, groups=self.inner, padding=3)
            self.project = nn.Linear(self.inner, 2 * state + 4)
            self.step = nn.Linear(4, self.inner)
            self.decay = nn.Parameter(torch.randn(self.inner, state))
            self.leave = nn.Linear(self.inner, size)

        def forward(self, x: Any) -> Any:
            y, gate = self.enter(self.norm(x)).chunk(2, -1)
            y = nn.functional.silu(self.conv(y.transpose(1, 2))[..., : x.shape[1]]).transpose(1, 2)
            step, b, c = self.project(y).split([4, self.state, self.state], -1)
            step = nn.functional.softplus(self.step(step))
            keep = torch.exp(step.unsqueeze(-1) * -torch.exp(self.decay))
            add = (step * y).unsqueeze(-1) * b.unsqueeze(2)
            held = torch.zeros(x.shape[0], self.inner, self.state)
            out = []
            for t in range(x.shape[1]):
                held = keep[:, t] * held + add[:, t]
                out.append((held * c[:, t].unsqueeze(1)).sum(-1))
            return x + self.leave(torch.stack(out, 1) * nn.functional.silu(gate))

    return nn.Sequential(Scan(), Scan()).eval(), (torch.randn(1, 24, 64),)


@named("experts-gathered")
def _experts() -> Any:
    import torch
    from torch import nn

    class Experts(nn.Module):
        """The best two of eight experts for each token, their weights gathered."""

        def __init__(self) -> None:
            super().__init__()
            self.gate = nn.Linear(128, 8)
            self.enter = nn.Parameter(torch.randn(8, 128, 256) * 0.05)
            self.leave = nn.Parameter(torch.randn(8, 256, 128) * 0.05)

        def forward(self, x: Any) -> Any:
            score, chosen = torch.topk(torch.softmax(self.gate(x), -1), 2)
            result = torch.zeros_like(x)
            for i in range(2):
                enter, leave = self.enter[chosen[:, i]], self.leave[chosen[:, i]]
                hidden = nn.functional.gelu(torch.bmm(x.unsqueeze(1), enter))
                result = result + score[:, i : i + 1] * torch.bmm(hidden, leave).squeeze(1)
            return result

    return Experts().eval(), (torch.randn(16, 128),)


@named("speech-encoder")
def _speech() -> Any:
    import torch
    from torch import nn

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv1d(80, 128, 3, padding=1), nn.Conv1d(128, 128, 3, 2, 1)
            self.place = nn.Parameter(torch.randn(100, 128))
            layer = nn.TransformerEncoderLayer(
                128, 4, 512, activation="gelu", batch_first=True, norm_first=True
            )
            self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

        def forward(self, mel: Any) -> Any:
            y = nn.functional.gelu(self.b(nn.functional.gelu(self.a(mel))))
            return self.body(y.transpose(1, 2) + self.place)

    return Encoder().eval(), (torch.randn(1, 80, 200),)


@named("video-3d")
def _video() -> Any:
    import torch
    from torch import nn

    def block(a: int, b: int, stride: Any) -> Any:
        return nn.Sequential(
            nn.Conv3d(a, b, (1, 3, 3), (1, *stride[1:]), (0, 1, 1), bias=False),
            nn.BatchNorm3d(b),
            nn.ReLU(),
            nn.Conv3d(b, b, (3, 1, 1), (stride[0], 1, 1), (1, 0, 0), bias=False),
            nn.BatchNorm3d(b),
            nn.ReLU(),
        )

    body = [block(3, 24, (1, 2, 2)), block(24, 48, (1, 2, 2)), block(48, 96, (2, 2, 2))]
    head = [nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(96, 50)]
    return nn.Sequential(*body, *head).eval(), (torch.randn(1, 3, 8, 64, 64),)


@named("graph-scatter")
def _graph() -> Any:
    import torch
    from torch import nn

    class Layer(nn.Module):
        def __init__(self, a: int, b: int) -> None:
            super().__init__()
            self.own, self.other = nn.Linear(a, b), nn.Linear(a, b)

        def forward(self, x: Any, edges: Any) -> Any:
            said = self.other(x)[edges[0]]
            index = edges[1].unsqueeze(1).expand(-1, said.shape[1])
            heard = torch.zeros(x.shape[0], said.shape[1]).scatter_add(0, index, said)
            return torch.relu(self.own(x) + heard)

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = Layer(32, 64), Layer(64, 64)

        def forward(self, x: Any, edges: Any) -> Any:
            return self.b(self.a(x, edges), edges).mean(0)

    return Network().eval(), (torch.randn(300, 32), torch.randint(0, 300, (2, 1200)))


@named("points-neighbours")
def _points() -> Any:
    import torch
    from torch import nn

    class Points(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.edge = nn.Sequential(nn.Conv2d(6, 32, 1), nn.LeakyReLU(0.2), nn.Conv2d(32, 64, 1))
            self.head = nn.Linear(64, 10)

        def forward(self, x: Any) -> Any:
            apart = ((x.unsqueeze(2) - x.unsqueeze(1)) ** 2).sum(-1)
            near = torch.topk(apart, 8, largest=False)[1]
            index = near.reshape(1, -1, 1).expand(-1, -1, 3)
            around = torch.gather(x, 1, index).reshape(1, 256, 8, 3)
            own = x.unsqueeze(2).expand(-1, -1, 8, -1)
            y = self.edge(torch.cat([own, around - own], -1).permute(0, 3, 1, 2))
            return self.head(y.amax(-1).amax(-1))

    return Points().eval(), (torch.randn(1, 256, 3),)


@named("diffusion-unet")
def _diffusion() -> Any:
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self, a: int, b: int) -> None:
            super().__init__()
            self.n1, self.n2 = nn.GroupNorm(8, a), nn.GroupNorm(8, b)
            self.c1, self.c2 = nn.Conv2d(a, b, 3, padding=1), nn.Conv2d(b, b, 3, padding=1)
            self.time, self.skip = nn.Linear(64, b), nn.Conv2d(a, b, 1)

        def forward(self, x: Any, t: Any) -> Any:
            y = self.c1(nn.functional.silu(self.n1(x))) + self.time(t)[:, :, None, None]
            return self.skip(x) + self.c2(nn.functional.silu(self.n2(y)))

    class Attention(nn.Module):
        def __init__(self, size: int) -> None:
            super().__init__()
            self.norm, self.qkv = nn.GroupNorm(8, size), nn.Conv2d(size, 3 * size, 1)
            self.out = nn.Conv2d(size, size, 1)

        def forward(self, x: Any) -> Any:
            b, c, h, w = x.shape
            q, k, v = self.qkv(self.norm(x)).reshape(b, 3, 4, c // 4, h * w).unbind(1)
            s = torch.einsum("bhcq,bhck->bhqk", q, k) * (c // 4) ** -0.5
            y = torch.einsum("bhqk,bhck->bhcq", s.softmax(-1), v)
            return x + self.out(y.reshape(b, c, h, w))

    class UNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(4, 32, 3, padding=1)
            self.d1, self.d2 = Block(32, 32), Block(32, 64)
            self.mid, self.att = Block(64, 64), Attention(64)
            self.u1, self.u2 = Block(128, 32), Block(64, 32)
            self.down = nn.Conv2d(32, 32, 3, 2, 1)
            self.time = nn.Sequential(nn.Linear(32, 64), nn.SiLU(), nn.Linear(64, 64))
            self.head = nn.Conv2d(32, 4, 3, padding=1)

        def forward(self, x: Any, t: Any) -> Any:
            angle = t[:, None].float() * torch.exp(torch.arange(16) * -0.5)
            t = self.time(torch.cat([angle.sin(), angle.cos()], -1))
            a = self.d1(self.stem(x), t)
            b = self.d2(self.down(a), t)
            m = self.att(self.mid(b, t))
            y = self.u1(torch.cat([m, b], 1), t)
            y = nn.functional.interpolate(y, scale_factor=2, mode="nearest")
            return self.head(self.u2(torch.cat([y, a], 1), t))

    return UNet().eval(), (torch.randn(1, 4, 32, 32), torch.tensor([3]))


@named("windows-shifted")
def _windows() -> Any:
    import torch
    from torch import nn

    class Block(nn.Module):
        """Attention in windows, rolled: its reshapes follow the size of the input."""

        def __init__(self, size: int, shift: int) -> None:
            super().__init__()
            self.shift, self.norm = shift, nn.LayerNorm(size)
            self.qkv, self.out = nn.Linear(size, 3 * size), nn.Linear(size, size)
            self.bias = nn.Parameter(torch.randn(4, 49, 49))

        def forward(self, x: Any) -> Any:
            b, h, w, c = x.shape
            y = torch.roll(self.norm(x), (-self.shift, -self.shift), (1, 2))
            y = y.view(b, h // 7, 7, w // 7, 7, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, 49, c)
            q, k, v = self.qkv(y).reshape(-1, 49, 3, 4, c // 4).permute(2, 0, 3, 1, 4).unbind(0)
            s = (q @ k.transpose(-2, -1) * 0.2 + self.bias).softmax(-1)
            y = self.out((s @ v).transpose(1, 2).reshape(-1, 49, c))
            y = y.view(b, h // 7, w // 7, 7, 7, c).permute(0, 1, 3, 2, 4, 5).reshape(b, h, w, c)
            return x + torch.roll(y, (self.shift, self.shift), (1, 2))

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 64, 4, 4)
            self.body = nn.Sequential(*(Block(64, 3 * (i % 2)) for i in range(12)))
            self.head = nn.Linear(64, 10)

        def forward(self, x: Any) -> Any:
            return self.head(self.body(self.stem(x).permute(0, 2, 3, 1)).mean((1, 2)))

    return Network().eval(), (torch.randn(1, 3, 112, 112),)


@named("decoder-rotary-gqa")
def _decoder() -> Any:
    import torch
    from torch import nn

    class Norm(nn.Module):
        def __init__(self, size: int) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(size))

        def forward(self, x: Any) -> Any:
            return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))

    class Layer(nn.Module):
        def __init__(self, size: int = 128, heads: int = 8, groups: int = 2) -> None:
            super().__init__()
            self.heads, self.groups, self.each = heads, groups, size // heads
            self.a, self.b = Norm(size), Norm(size)
            self.q = nn.Linear(size, size, bias=False)
            self.k, self.v = (nn.Linear(size, groups * self.each, bias=False) for _ in "kv")
            self.o = nn.Linear(size, size, bias=False)
            self.gate, self.up = (nn.Linear(size, 344, bias=False) for _ in "gu")
            self.down = nn.Linear(344, size, bias=False)

        def forward(self, x: Any, cos: Any, sin: Any) -> Any:
            b, t, c = x.shape
            y = self.a(x)
            q = self.q(y).view(b, t, self.heads, self.each).transpose(1, 2)
            k = self.k(y).view(b, t, self.groups, self.each).transpose(1, 2)
            v = self.v(y).view(b, t, self.groups, self.each).transpose(1, 2)

            def turned(z: Any) -> Any:
                half = z.shape[-1] // 2
                return z * cos + torch.cat([-z[..., half:], z[..., :half]], -1) * sin

            q, k = turned(q), turned(k)
            times = self.heads // self.groups
            k = (
                k[:, :, None]
                .expand(b, self.groups, times, t, self.each)
                .reshape(b, self.heads, t, self.each)
            )
            v = (
                v[:, :, None]
                .expand(b, self.groups, times, t, self.each)
                .reshape(b, self.heads, t, self.each)
            )
            mask = torch.full((t, t), float("-inf")).triu(1)
            s = (q @ k.transpose(-2, -1) / self.each**0.5 + mask).softmax(-1)
            x = x + self.o((s @ v).transpose(1, 2).reshape(b, t, c))
            y = self.b(x)
            return x + self.down(nn.functional.silu(self.gate(y)) * self.up(y))

    class Decoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(1000, 128)
            self.layers = nn.ModuleList(Layer() for _ in range(4))
            self.norm, self.head = Norm(128), nn.Linear(128, 1000, bias=False)

        def forward(self, ids: Any) -> Any:
            x = self.table(ids)
            at = torch.arange(ids.shape[1]).float()[:, None] * 0.5 ** torch.arange(8).float()
            at = torch.cat([at, at], -1)
            for layer in self.layers:
                x = layer(x, at.cos(), at.sin())
            return self.head(self.norm(x))

    return Decoder().eval(), (torch.randint(0, 1000, (1, 48)),)


@named("shuffle-ghost")
def _shuffle() -> Any:
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self, size: int) -> None:
            super().__init__()
            half = size // 2
            self.main = nn.Sequential(
                conv(half, half, 1), conv(half, half, groups=half), conv(half, half, 1)
            )
            self.cheap = conv(half, half, 5, groups=half)

        def forward(self, x: Any) -> Any:
            a, b = x.chunk(2, 1)
            y = torch.cat([self.cheap(a), self.main(b)], 1)
            n, c, h, w = y.shape
            return y.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)

    stem = conv(3, 48, stride=2)
    return nn.Sequential(stem, *(Block(48) for _ in range(4)), conv(48, 96, 3, stride=2)).eval(), (
        torch.randn(1, 3, 96, 96),
    )


@named("linear-attention")
def _linear_attention() -> Any:
    import torch
    from torch import nn

    class Attention(nn.Module):
        """Multi-scale attention without softmax, as in EfficientViT: ReLU kernels, NCHW."""

        def __init__(self, size: int) -> None:
            super().__init__()
            self.qkv = nn.Conv2d(size, 3 * size, 1, bias=False)
            self.scale = nn.Conv2d(3 * size, 3 * size, 5, padding=2, groups=3 * size, bias=False)
            self.out = nn.Conv2d(2 * size, size, 1)

        def forward(self, x: Any) -> Any:
            n, _, h, w = x.shape
            y = self.qkv(x)
            y = torch.cat([y, self.scale(y)], 1).reshape(n, -1, 3 * 16, h * w)
            q, k, v = y.split(16, 2)
            q, k = torch.relu(q), torch.relu(k)
            v = nn.functional.pad(v, (0, 0, 0, 1), value=1.0)
            y = (v @ k.transpose(-1, -2)) @ q
            y = y[:, :, :-1] / (y[:, :, -1:] + 1e-6)
            return x + self.out(y.reshape(n, -1, h, w))

    body = [
        conv(3, 32, stride=2),
        conv(32, 64, stride=2),
        Attention(64),
        conv(64, 64),
        Attention(64),
    ]
    return nn.Sequential(*body).eval(), (torch.randn(1, 3, 128, 128),)


@named("hard-swish-gate")
def _gated() -> Any:
    import torch
    from torch import nn

    class Gate(nn.Module):
        def __init__(self, size: int) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(size, size // 4, 1), nn.Conv2d(size // 4, size, 1)

        def forward(self, x: Any) -> Any:
            y = torch.relu(self.a(nn.functional.adaptive_avg_pool2d(x, 1)))
            return x * nn.functional.hardsigmoid(self.b(y))

    def block(a: int, b: int, stride: int) -> Any:
        return nn.Sequential(
            conv(a, 4 * a, 1),
            nn.Conv2d(4 * a, 4 * a, 5, stride, 2, groups=4 * a),
            nn.Hardswish(),
            Gate(4 * a),
            nn.Conv2d(4 * a, b, 1),
        )

    return nn.Sequential(
        conv(3, 16, stride=2), block(16, 24, 2), block(24, 40, 2), nn.Mish()
    ).eval(), (torch.randn(1, 3, 128, 128),)


@named("grid-warp")
def _warp() -> Any:
    import torch
    from torch import nn

    class Warp(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.flow, self.head = nn.Conv2d(16, 2, 3, padding=1), nn.Conv2d(16, 8, 3, padding=1)
            self.stem = conv(3, 16)

        def forward(self, x: Any) -> Any:
            y = self.stem(x)
            grid = self.flow(y).tanh().permute(0, 2, 3, 1)
            return self.head(nn.functional.grid_sample(y, grid, align_corners=False))

    return Warp().eval(), (torch.randn(1, 3, 64, 64),)


@named("super-resolution")
def _super_resolution() -> Any:
    import torch
    from torch import nn

    body = [
        nn.Conv2d(3, 32, 5, padding=2),
        nn.PReLU(32),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.PReLU(32),
    ]
    return nn.Sequential(*body, nn.Conv2d(32, 12, 3, padding=1), nn.PixelShuffle(2)).eval(), (
        torch.randn(1, 3, 96, 96),
    )


@named("generator-instance-norm")
def _generator() -> Any:
    import torch
    from torch import nn

    def up(a: int, b: int) -> Any:
        return nn.Sequential(
            nn.ConvTranspose2d(a, b, 4, 2, 1), nn.InstanceNorm2d(b, affine=True), nn.LeakyReLU(0.2)
        )

    enter = [
        nn.ReflectionPad2d(3),
        nn.Conv2d(3, 16, 7),
        nn.InstanceNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 64, 3, 2, 1),
    ]
    return nn.Sequential(*enter, up(64, 32), nn.Conv2d(32, 3, 7, padding=3), nn.Tanh()).eval(), (
        torch.randn(1, 3, 96, 96),
    )


@named("grouped-dilated")
def _grouped() -> Any:
    import torch
    from torch import nn

    body = [
        conv(3, 32, stride=2),
        conv(32, 64, 5, groups=4),
        conv(64, 64, 3, dilation=3, padding=3),
        nn.Conv2d(64, 64, (1, 7), padding=(0, 3)),
        nn.Conv2d(64, 64, (7, 1), padding=(3, 0)),
        nn.AvgPool2d(3, 1, 1),
        nn.LPPool2d(2, 2),
    ]
    return nn.Sequential(*body).eval(), (torch.randn(1, 3, 96, 96),)


@named("mixer-tokens")
def _mixer() -> Any:
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.LayerNorm(128), nn.LayerNorm(128)
            self.tokens = nn.Sequential(nn.Linear(49, 64), nn.GELU(), nn.Linear(64, 49))
            self.channels = nn.Sequential(nn.Linear(128, 512), nn.GELU(), nn.Linear(512, 128))

        def forward(self, x: Any) -> Any:
            x = x + self.tokens(self.a(x).transpose(1, 2)).transpose(1, 2)
            return x + self.channels(self.b(x))

    class Mixer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 128, 16, 16)
            self.body = nn.Sequential(Block(), Block(), Block())

        def forward(self, x: Any) -> Any:
            return self.body(self.stem(x).flatten(2).transpose(1, 2)).mean(1)

    return Mixer().eval(), (torch.randn(1, 3, 112, 112),)
