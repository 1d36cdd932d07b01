"""Functions of one distance as certified spline tables: evaluated at the knots, whatever the number of pairs."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from atomlens.errors import InputError
from atomlens.ops.cfconv import Kernels, SplineGrid, kernels_for, spline_coefficients
from atomlens.ops.fingerprint import fingerprint

_SIZES = [
    share << power for power in range(4, 11) for share in (4, 5, 6, 7)
]  # intervals: 64, 80, 96, 112, 128, 160, ...
_FEWEST, _MOST = _SIZES[0], _SIZES[-1]
_constant: ContextVar[bool] = ContextVar("constant_parameters", default=False)


@contextmanager
def constant_parameters() -> Iterator[None]:
    """Inside the block no derivatives by parameters are wanted, so tables are made once and kept."""
    token = _constant.set(True)
    try:
        yield
    finally:
        _constant.reset(token)


def can_keep() -> bool:
    """Whether what is made from parameters now may serve again, as long as they stay the same."""
    # What is made in inference mode can never be differentiated through.
    return not ((torch.is_grad_enabled() and not _constant.get()) or torch.is_inference_mode_enabled())


@dataclass(frozen=True)
class Certificate:
    """How far a table is from the functions that it stands for."""

    intervals: int  # over [0, end]
    end: float  # Å
    error: float  # largest difference seen between knots, as a share of the largest range of a function of the block
    bound: float  # what was asked for

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


class Tabulated(nn.Module, ABC):
    """Functions W_tf(d) of one distance, blocks t and features f, that are used through a table.

    Args:
        end: distance in Å where the table ends.
        fade: the cutoff function, with its cutoff there; 'none': beyond the end the functions stay what they are.
        accuracy: the interpolation error allowed, as a share of the functions' range; None: no table.
    """

    def __init__(self, end: float, *, fade: str, accuracy: float | None) -> None:
        super().__init__()
        self.accuracy, self.exact = accuracy, accuracy is None
        self.grid = SplineGrid(end, _FEWEST, fade)
        self._kept: tuple[tuple[Any, ...], Tensor] | None = None

    @abstractmethod
    def forward(self, distances: Tensor) -> Tensor:
        """The functions at distances (pairs,) in Å: (blocks, pairs, F)."""

    @abstractmethod
    def knot_values(self, distances: Tensor) -> Tensor:
        """The same without the cutoff function, for knots beyond either end as well: (blocks, samples, F)."""

    def get_extra_state(self) -> Tensor:
        """The number of intervals is a part of the model: training and prediction go through the same table."""
        return torch.tensor(self.grid.intervals)

    def set_extra_state(self, state: Any) -> None:
        """Take over the number of intervals."""
        self.grid = replace(self.grid, intervals=int(state))

    def table(self, kernels: Kernels) -> Tensor:
        """Spline coefficients (blocks, samples + 2, F); kept while parameters are constant and unchanged."""
        if not can_keep():
            return self._tabulate(kernels)
        key = (self.grid, kernels.name, fingerprint(list(self.parameters())))
        if self._kept is None or self._kept[0] != key:
            with torch.no_grad():
                self._kept = key, self._tabulate(kernels)
        return self._kept[1]

    def _tabulate(self, kernels: Kernels) -> Tensor:
        return spline_coefficients(self.knot_values(self.grid.samples.to(next(self.parameters()))), kernels)

    @torch.no_grad()
    def certify(self) -> Certificate | None:
        """Measure the table's error, in float64, a quarter, half and three quarters of the way between knots.

        Returns:
            None where exact functions are used.
        """
        if self.exact or self.accuracy is None:
            return None
        if not any(part.numel() for part in self.parameters()):
            return Certificate(self.grid.intervals, self.grid.end, 0.0, self.accuracy)
        functions = copy.deepcopy(self).to("cpu", torch.float64)
        functions._kept = None
        kernels = kernels_for(torch.device("cpu"), torch.float64)
        quarters = torch.arange(4 * self.grid.intervals + 1, dtype=torch.float64) * (self.grid.spacing / 4.0)
        exact = functions(quarters)
        place, fraction = self.grid.locate(quarters)
        weights = self.grid.weights(quarters, fraction, 0, torch.float64)
        table = functions._tabulate(kernels)
        rows = place[:, None] + torch.arange(4)
        spline = torch.einsum("pm,bpmf->bpf", weights, table[:, rows])
        span = (exact.amax(dim=1) - exact.amin(dim=1)).amax(dim=1)
        off = (spline - exact).abs().amax(dim=(1, 2))
        error = float((off / span.clamp(min=torch.finfo(torch.float64).tiny)).max())
        return Certificate(self.grid.intervals, self.grid.end, error, self.accuracy)

    def refine(self, margin: float = 0.5) -> Certificate | None:
        """Raise the number of knots until the error is below ``margin`` times the bound; it never falls.

        Half of the bound leaves training room to grow, and keeps forces, which err more, within 1e-4 of their size.

        Returns:
            The certificate of the table as it is now; None where exact functions are used.

        Raises:
            InputError: no table of reasonable size meets the bound.
        """
        self._kept = None
        found, before = self.certify(), float("inf")
        while found is not None and not found.error <= margin * found.bound:
            # The error falls with the fourth power of the spacing.
            wanted = found.intervals * min(max((found.error / (margin * found.bound)) ** 0.25, 1.01), 4.0)
            stuck = found.error > 0.9 * before  # at rounding; the smallest refinement leaves 0.59
            if stuck or not wanted <= _MOST:
                raise InputError(
                    f"no table meets filter_accuracy {found.bound:g} (error {found.error:.1e} with {found.intervals} "
                    "intervals); allow more, or set it to null for exact filters"
                )
            self.grid = replace(self.grid, intervals=next(size for size in _SIZES if size >= wanted))
            before, found = found.error, self.certify()
        return found
