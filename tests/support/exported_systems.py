"""More networks as people write and export them: whole systems, by what they are for.

As :mod:`exported_modules`, whose :data:`MODULES` they join.
"""

# mypy: ignore-errors
# (torch has no types that hold here, and NumPy scalars are called with lists)
from __future__ import annotations

import itertools
import math
from typing import Any

from exported_modules import conv as _conv
from exported_modules import named as _named


@_named("detector-pyramid")
def _detector() -> Any:
    import torch
    from torch import nn

    class Detector(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            sizes = (32, 64, 128, 256)
            self.stem = nn.Sequential(_conv(3, 16, stride=2), _conv(16, 32, stride=2))
            self.stages = nn.ModuleList(
                nn.Sequential(_conv(a, b, stride=2), _conv(b, b))
                for a, b in itertools.pairwise(sizes)
            )
            self.side = nn.ModuleList(nn.Conv2d(c, 64, 1) for c in sizes[1:])
            self.head = nn.Sequential(_conv(64, 64), nn.Conv2d(64, 3 * 25, 1))

        def forward(self, x: Any) -> Any:
            x, kept = self.stem(x), []
            for stage in self.stages:
                x = stage(x)
                kept.append(x)
            above, found = None, []
            for side, level in reversed(list(zip(self.side, kept, strict=True))):
                own = side(level)
                if above is not None:
                    own = own + nn.functional.interpolate(above, scale_factor=2.0)
                above = own
                out = self.head(own)
                out = out.reshape(1, 3, 25, out.shape[2], out.shape[3]).permute(0, 1, 3, 4, 2)
                out = out.sigmoid()
                box = torch.cat([out[..., :2] * 2 - 0.5, (out[..., 2:4] * 2) ** 2, out[..., 4:]], 4)
                found.append(box.reshape(1, -1, 25))
            return torch.cat(found, 1)

    return Detector().eval(), (torch.randn(1, 3, 320, 320),)


@_named("keypoints-heatmap")
def _keypoints() -> Any:
    import torch
    from torch import nn

    body = [_conv(3, 32, stride=2), _conv(32, 64, stride=2), _conv(64, 128, stride=2)]
    up = [nn.ConvTranspose2d(128, 64, 4, 2, 1), nn.BatchNorm2d(64), nn.ReLU()]

    class Heatmap(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(*body, *up, nn.Conv2d(64, 17, 1))

        def forward(self, x: Any) -> Any:
            found = self.body(x).flatten(2)
            return found.softmax(2).max(2).values, found.argmax(2)

    return Heatmap().eval(), (torch.randn(1, 3, 256, 192),)


@_named("keyword-spotting")
def _keyword() -> Any:
    import torch
    from torch import nn

    def separable(channels: int) -> list[Any]:
        return [
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            _conv(channels, channels, 1),
        ]

    body = [nn.Conv2d(1, 64, (10, 4), (2, 2), (5, 1)), nn.BatchNorm2d(64), nn.ReLU()]
    body += [layer for _ in range(4) for layer in separable(64)]
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 12)).eval(), (
        torch.randn(1, 1, 49, 10),
    )


@_named("temporal-convolutions")
def _temporal() -> Any:
    import torch
    from torch import nn

    class Gate(nn.Module):
        def __init__(self, dilation: int) -> None:
            super().__init__()
            self.wide = nn.Conv1d(48, 96, 3, dilation=dilation)
            self.pad, self.out = 2 * dilation, nn.Conv1d(48, 48, 1)

        def forward(self, x: Any) -> Any:
            found = self.wide(nn.functional.pad(x, (self.pad, 0)))
            a, b = found.chunk(2, 1)
            return x + self.out(torch.tanh(a) * torch.sigmoid(b))

    body = [nn.Conv1d(1, 48, 1), *(Gate(2**i) for i in range(8)), nn.ReLU(), nn.Conv1d(48, 64, 1)]
    return nn.Sequential(*body).eval(), (torch.randn(1, 1, 2048),)


@_named("tabular-perceptron")
def _tabular() -> Any:
    import torch
    from torch import nn

    class Tabular(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tables = nn.ModuleList(nn.Embedding(n, 16) for n in (1000, 300, 50, 12, 7))
            sizes = (5 * 16 + 24, 512, 256, 64)
            self.body = nn.Sequential(
                *(
                    layer
                    for a, b in itertools.pairwise(sizes)
                    for layer in (nn.Linear(a, b), nn.BatchNorm1d(b), nn.SiLU())
                )
            )
            self.head = nn.Linear(64, 1)

        def forward(self, ids: Any, numbers: Any) -> Any:
            found = [table(ids[:, i]) for i, table in enumerate(self.tables)]
            return self.head(self.body(torch.cat([*found, numbers], 1))).sigmoid()

    return Tabular().eval(), (torch.randint(0, 7, (8, 5)), torch.randn(8, 24))


@_named("autoencoder-convolutional")
def _autoencoder() -> Any:
    import torch
    from torch import nn

    down = [nn.Conv2d(3, 32, 4, 2, 1), nn.ELU(), nn.Conv2d(32, 64, 4, 2, 1), nn.ELU()]
    middle = [nn.Flatten(), nn.Linear(64 * 16 * 16, 128), nn.Linear(128, 64 * 16 * 16), nn.ELU()]
    up = [nn.Unflatten(1, (64, 16, 16)), nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.ELU()]
    last = [nn.ConvTranspose2d(32, 3, 4, 2, 1), nn.Sigmoid()]
    return nn.Sequential(*down, *middle, *up, *last).eval(), (torch.randn(1, 3, 64, 64),)


@_named("diffusion-attention")
def _diffusion() -> Any:
    import torch
    from torch import nn

    class Residual(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.norms = nn.ModuleList(nn.GroupNorm(8, channels) for _ in range(2))
            self.convs = nn.ModuleList(nn.Conv2d(channels, channels, 3, 1, 1) for _ in range(2))
            self.time = nn.Linear(64, channels)

        def forward(self, x: Any, time: Any) -> Any:
            y = self.convs[0](nn.functional.silu(self.norms[0](x)))
            y = y + self.time(time)[:, :, None, None]
            return x + self.convs[1](nn.functional.silu(self.norms[1](y)))

    class Attention(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.norm, self.out = nn.GroupNorm(8, channels), nn.Conv2d(channels, channels, 1)
            self.parts = nn.Conv2d(channels, 3 * channels, 1)

        def forward(self, x: Any) -> Any:
            b, c, h, w = x.shape
            q, k, v = self.parts(self.norm(x)).reshape(b, 3, 4, c // 4, h * w).unbind(1)
            weights = torch.einsum("bhcn,bhcm->bhnm", q, k * (c // 4) ** -0.5).softmax(-1)
            return x + self.out(torch.einsum("bhnm,bhcm->bhcn", weights, v).reshape(b, c, h, w))

    class Denoiser(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enter, self.leave = nn.Conv2d(3, 64, 3, 1, 1), nn.Conv2d(64, 3, 3, 1, 1)
            self.high, self.low = Residual(64), Residual(64)
            self.down, self.attention = nn.Conv2d(64, 64, 3, 2, 1), Attention(64)
            self.up = nn.Conv2d(64, 64, 3, 1, 1)

        def forward(self, x: Any, time: Any) -> Any:
            angles = time[:, None] * torch.exp(-torch.arange(32) / 32 * math.log(1e4))
            time = torch.cat([angles.sin(), angles.cos()], 1)
            x = self.high(self.enter(x), time)
            y = self.attention(self.low(self.down(x), time))
            return self.leave(x + self.up(nn.functional.interpolate(y, scale_factor=2.0)))

    return Denoiser().eval(), (torch.randn(1, 3, 32, 32), torch.rand(1))


@_named("segmenter-pyramid-pooling")
def _pyramid() -> Any:
    import torch
    from torch import nn

    class Pyramid(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(*(_conv(a, b, stride=2) for a, b in ((3, 32), (32, 64))))
            self.rates = nn.ModuleList(
                nn.Sequential(nn.Conv2d(64, 32, 3, padding=r, dilation=r), nn.ReLU())
                for r in (1, 6, 12, 18)
            )
            self.whole = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(64, 32, 1), nn.ReLU())
            self.head = nn.Sequential(_conv(160, 64, 1), nn.Conv2d(64, 21, 1))

        def forward(self, x: Any) -> Any:
            y = self.body(x)
            whole = self.whole(y).expand(-1, -1, y.shape[2], y.shape[3])
            found = self.head(torch.cat([*(rate(y) for rate in self.rates), whole], 1))
            return nn.functional.interpolate(
                found, size=x.shape[2:], mode="bilinear", align_corners=False
            ).argmax(1)

    return Pyramid().eval(), (torch.randn(1, 3, 160, 160),)


@_named("translator-encoder-decoder")
def _translator() -> Any:
    import torch
    from torch import nn

    class Translator(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.places = nn.Embedding(2000, 128), nn.Embedding(64, 128)
            self.body = nn.Transformer(128, 4, 2, 2, 256, 0.0, batch_first=True)
            self.head = nn.Linear(128, 2000)

        def forward(self, source: Any, target: Any) -> Any:
            places = torch.arange(source.shape[1])[None]
            a = self.table(source) + self.places(places)
            b = self.table(target) + self.places(places[:, : target.shape[1]])
            mask = torch.full((target.shape[1],) * 2, -1e9).triu(1)
            return self.head(self.body(a, b, tgt_mask=mask)).log_softmax(-1)

    ids = torch.randint(0, 2000, (1, 40)), torch.randint(0, 2000, (1, 24))
    return Translator().eval(), ids


@_named("text-recognizer")
def _recognizer() -> Any:
    import torch
    from torch import nn

    class Recognizer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(
                _conv(1, 32), nn.MaxPool2d(2), _conv(32, 64), nn.MaxPool2d(2),
                _conv(64, 128), nn.MaxPool2d((2, 1)), _conv(128, 128), nn.AvgPool2d((4, 1)),
            )  # fmt: skip
            self.rows = nn.LSTM(128, 96, bidirectional=True, batch_first=True)
            self.head = nn.Linear(192, 80)

        def forward(self, x: Any) -> Any:
            found, _ = self.rows(self.body(x).squeeze(2).transpose(1, 2))
            return self.head(found).log_softmax(2)

    return Recognizer().eval(), (torch.randn(1, 1, 32, 160),)


@_named("siamese-correlation")
def _siamese() -> Any:
    import torch
    from torch import nn

    class Siamese(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(
                _conv(3, 24, stride=2), _conv(24, 48, stride=2), _conv(48, 48)
            )

        def forward(self, a: Any, b: Any) -> Any:
            a, b = (nn.functional.normalize(self.body(x), dim=1).flatten(2) for x in (a, b))
            found = torch.matmul(a.transpose(1, 2), b)
            return found.amax(2), found.mean(2)

    return Siamese().eval(), (torch.randn(1, 3, 96, 96), torch.randn(1, 3, 96, 96))


@_named("graph-attention")
def _graph_attention() -> Any:
    import torch
    from torch import nn

    class Layer(nn.Module):
        def __init__(self, inputs: int, outputs: int) -> None:
            super().__init__()
            self.map, self.score = nn.Linear(inputs, outputs), nn.Linear(2 * outputs, 1)

        def forward(self, x: Any, near: Any) -> Any:
            x = self.map(x)
            n = x.shape[0]
            pairs = torch.cat([x[:, None].expand(n, n, -1), x[None].expand(n, n, -1)], 2)
            score = nn.functional.leaky_relu(self.score(pairs).squeeze(2), 0.2)
            return torch.relu(score.masked_fill(near < 0.5, -1e9).softmax(1) @ x)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = Layer(32, 64), Layer(64, 16)

        def forward(self, x: Any, near: Any) -> Any:
            return self.second(self.first(x, near), near)

    return Net().eval(), (torch.randn(120, 32), torch.rand(120, 120))


@_named("vocoder-upsampling")
def _vocoder() -> Any:
    import torch
    from torch import nn

    class Residual(nn.Module):
        def __init__(self, channels: int, dilation: int) -> None:
            super().__init__()
            self.a = nn.Conv1d(channels, channels, 3, padding=dilation, dilation=dilation)
            self.b = nn.Conv1d(channels, channels, 3, padding=1)

        def forward(self, x: Any) -> Any:
            act = nn.functional.leaky_relu
            return x + self.b(act(self.a(act(x, 0.1)), 0.1))

    layers: list[Any] = [nn.Conv1d(80, 128, 7, padding=3)]
    for a, b, factor in ((128, 64, 8), (64, 32, 8)):
        layers += [nn.LeakyReLU(0.1), nn.ConvTranspose1d(a, b, 2 * factor, factor, factor // 2)]
        layers += [Residual(b, 1), Residual(b, 3)]
    layers += [nn.LeakyReLU(0.1), nn.Conv1d(32, 1, 7, padding=3), nn.Tanh()]
    return nn.Sequential(*layers).eval(), (torch.randn(1, 80, 40),)


@_named("denoiser-large-image")
def _denoiser() -> Any:
    import torch
    from torch import nn

    class Denoiser(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            body = [layer for _ in range(4) for layer in (nn.Conv2d(24, 24, 3, 1, 1), nn.PReLU(24))]
            self.body = nn.Sequential(nn.Conv2d(12, 24, 3, 1, 1), *body, nn.Conv2d(24, 12, 3, 1, 1))

        def forward(self, x: Any) -> Any:
            y = nn.functional.pixel_unshuffle(x, 2)
            return x - nn.functional.pixel_shuffle(self.body(y), 2)

    return Denoiser().eval(), (torch.randn(1, 3, 256, 256),)


@_named("ranker-attention")
def _ranker() -> Any:
    import torch
    from torch import nn

    class Ranker(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(5000, 32)
            self.score = nn.Sequential(nn.Linear(128, 36), nn.Sigmoid(), nn.Linear(36, 1))
            self.head = nn.Sequential(nn.Linear(64, 200), nn.PReLU(), nn.Linear(200, 2))

        def forward(self, item: Any, history: Any) -> Any:
            one, many = self.table(item)[:, None], self.table(history)
            wide = one.expand(-1, many.shape[1], -1)
            weights = self.score(torch.cat([wide, many, wide - many, wide * many], 2)).softmax(1)
            return self.head(torch.cat([one.squeeze(1), (weights * many).sum(1)], 1)).softmax(1)

    return Ranker().eval(), (torch.randint(0, 5000, (16,)), torch.randint(0, 5000, (16, 50)))


@_named("control-policy")
def _policy() -> Any:
    import torch
    from torch import nn

    class Policy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.look = nn.Sequential(
                nn.Conv2d(4, 32, 8, 4), nn.ReLU(), nn.Conv2d(32, 64, 4, 2), nn.ReLU(),
                nn.Conv2d(64, 64, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3136, 512), nn.ReLU(),
            )  # fmt: skip
            self.rows, self.head = nn.GRU(512, 256, batch_first=True), nn.Linear(256, 7)

        def forward(self, x: Any, state: Any) -> Any:
            found, state = self.rows(self.look(x / 255.0)[:, None], state)
            return self.head(found[:, 0]), state

    return Policy().eval(), (torch.rand(1, 4, 84, 84), torch.zeros(1, 1, 256))
