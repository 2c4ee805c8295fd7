"""The torch module of an expected latency; imported only where torch is wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from latprof.errors import InvalidValueError

if TYPE_CHECKING:
    from latprof.predictors.gradients.expectation import Expectation, Floats


class ExpectedLatency(torch.nn.Module):  # type: ignore[misc,unused-ignore]
    """Expected latency in ms, shape (...), of probabilities, shape (..., decisions, candidates).

    Parameters
    ----------
    expectation : Expectation
    """

    def __init__(self, expectation: Expectation) -> None:
        super().__init__()
        self.intercept_ms = expectation.intercept_ms
        self._shape = expectation.linear_ms.shape
        self._keep("linear_ms", expectation.linear_ms.ravel())
        self._keep("pairs_ms", expectation.pairs_ms)
        self._sizes: list[tuple[int, ...]] = []
        for number, (owners, tables) in enumerate(expectation.products):
            self.register_buffer(f"decisions_{number}", torch.from_numpy(owners))
            self._keep(f"tables_{number}_ms", tables)
            self._sizes.append(tables.shape[1:])

    def _keep(self, name: str, values: Floats | None) -> None:
        tensor = None if values is None else torch.tensor(values, dtype=torch.float32)
        self.register_buffer(name, tensor)

    def forward(self, probabilities: torch.Tensor) -> torch.Tensor:
        """Return the expected latency; raises InvalidValueError for another shape."""
        if tuple(probabilities.shape[-2:]) != self._shape:
            raise InvalidValueError(
                "probabilities have the wrong shape",
                expected=f"(..., {self._shape[0]}, {self._shape[1]})",
                got=str(tuple(probabilities.shape)),
            )
        flat = probabilities.flatten(-2)
        if self.pairs_ms is None:
            latency = flat @ self.linear_ms + self.intercept_ms
        else:
            weights = flat @ self.pairs_ms + self.linear_ms
            latency = (flat * weights).sum(-1) + self.intercept_ms
        for number, sizes in enumerate(self._sizes):
            latency = latency + self._product(number, sizes, probabilities)
        return latency

    def _product(
        self, number: int, sizes: tuple[int, ...], probabilities: torch.Tensor
    ) -> torch.Tensor:
        """Contract tables with the probabilities of their decisions, the last one first."""
        owners: Any = getattr(self, f"decisions_{number}")
        value: Any = getattr(self, f"tables_{number}_ms")
        for axis in range(len(sizes) - 1, -1, -1):
            chosen = probabilities[..., owners[:, axis], : sizes[axis]]  # (..., factors, size)
            value = (value * chosen.reshape(*chosen.shape[:-1], *[1] * axis, -1)).sum(-1)
        return value.sum(-1)
