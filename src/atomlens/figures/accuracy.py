"""Figures of how well a model predicts, and of how it learnt to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from atomlens.figures import style

_HEXAGONS_FROM = 1500  # points; with fewer, every point is drawn

_LOSSES = (("train_loss", "training", style.BLUE), ("validation_loss", "validation", style.ORANGE))
_ERRORS = (
    ("validation_forces_mae", "forces", "eV/Ang", style.GREEN),
    ("validation_energy_mae", "energy", "eV", style.BLUE),
)


@style.styled
def parity(reference: ArrayLike, predicted: ArrayLike, quantity: str, unit: str, mae: float, rmse: float) -> Figure:
    """Predicted against reference values, with the distribution of the residuals.

    Values far from zero (total energies) are shown relative to the mean reference value.

    Args:
        reference: reference values, any shape, in ``unit``.
        predicted: predictions, same shape.
        quantity: what it is, in words for the axis: ``energy``, ``force component``.
        unit: unit of the values and errors; energies and forces are shown in kcal/mol and kcal/mol/Å.
        mae: mean absolute error, in ``unit``.
        rmse: root mean squared error, in ``unit``.
    """
    factor, shown = style.shown_unit(unit)
    expected = factor * np.asarray(reference, dtype=float).ravel()
    found = factor * np.asarray(predicted, dtype=float).ravel()
    residuals = found - expected
    far_from_zero = abs(expected.mean()) > 3.0 * expected.std()
    centre = expected.mean() if far_from_zero else 0.0
    figure = style.new_figure(4.3)
    axes = figure.add_subplot()
    _parity_points(axes, expected - centre, found - centre)
    relative = ", relative to the mean" if far_from_zero else ""
    axes.set_xlabel(f"reference {quantity}{relative} ({shown})")
    axes.set_ylabel(f"predicted {quantity}{relative} ({shown})")
    lines = [f"MAE {factor * mae:.3g} {shown}", f"RMSE {factor * rmse:.3g} {shown}", f"{expected.size:,} values"]
    axes.text(0.04, 0.96, "\n".join(lines), transform=axes.transAxes, va="top", linespacing=1.5, fontsize=8.5)
    _residual_inset(axes, residuals, factor * rmse, shown)
    return figure


def _parity_points(axes: Axes, expected: NDArray[np.float64], found: NDArray[np.float64]) -> None:
    """The points, as hexagons where they are many, with the diagonal; both axes have the same range."""
    low, high = min(expected.min(), found.min()), max(expected.max(), found.max())
    pad = 0.05 * (high - low) or 1.0
    limits = (low - pad, high + pad)
    if expected.size >= _HEXAGONS_FROM:
        cells = axes.hexbin(
            expected, found, gridsize=60, mincnt=1, extent=(*limits, *limits), cmap=style.SEQUENTIAL, lw=0.2
        )
        cells.set_norm(LogNorm(1.0, max(2.0, float(np.max(cells.get_array())))))  # type: ignore[arg-type]
        scale = axes.inset_axes((0.05, 0.72, 0.28, 0.018))
        bar = axes.figure.colorbar(cells, cax=scale, orientation="horizontal")
        bar.set_label("values per cell", fontsize=7.0, labelpad=1)
        bar.ax.tick_params(labelsize=7.0, length=2, pad=1, which="both")
        bar.ax.minorticks_off()
        bar.outline.set_visible(False)
    else:
        axes.scatter(expected, found, s=14, color=style.BLUE, alpha=0.55, linewidths=0, zorder=3)
    axes.plot(limits, limits, color=style.INK, lw=0.8, zorder=2, alpha=0.7)
    axes.set(xlim=limits, ylim=limits, box_aspect=1.0)
    style.light_grid(axes)


def _residual_inset(axes: Axes, residuals: NDArray[np.float64], rmse: float, unit: str) -> None:
    """The residuals' histogram in the corner that a parity plot leaves empty; far ones count in the end bins."""
    reach = max(4.0 * rmse, 1e-12)
    inset = axes.inset_axes((0.62, 0.115, 0.35, 0.23))
    inset.hist(np.clip(residuals, -reach, reach), bins=41, range=(-reach, reach), color=style.MUTED)
    inset.axvline(0.0, color=style.INK, lw=0.7)
    inset.set_title(f"residual ({unit})", fontsize=7.0, loc="center", pad=3)
    inset.set_yticks([])
    inset.spines["left"].set_visible(False)
    inset.patch.set_alpha(0.85)
    inset.locator_params(axis="x", nbins=4)
    inset.tick_params(labelsize=7.0, length=2, pad=2)


@style.styled
def learning_curve(rows: Sequence[Mapping[str, Any]], best_epoch: int | None = None) -> Figure:
    """Losses and validation errors along the training, on logarithmic axes.

    Args:
        rows: one mapping per epoch with ``epoch``, ``train_loss``, ``validation_loss``, ``validation_energy_mae`` (eV)
            and, where forces were learnt, ``validation_forces_mae`` (eV/Å); others are not read.
        best_epoch: the epoch whose model was kept; by default the one of lowest validation loss.
    """
    epochs, losses = _column(rows, "epoch"), _column(rows, "validation_loss")
    if best_epoch is None and np.isfinite(losses).any():
        best_epoch = int(epochs[np.nanargmin(losses)])
    figure = style.new_figure(4.3)
    upper, lower = figure.subplots(2, 1, sharex=True)
    _curves(upper, epochs, [(_column(rows, key), label, colour) for key, label, colour in _LOSSES])
    upper.set_ylabel("loss")
    errors = []
    for key, label, unit, colour in _ERRORS:
        factor, shown = style.shown_unit(unit)
        errors.append((factor * _column(rows, key), f"{label} ({shown})", colour))
    _curves(lower, epochs, errors)
    lower.set_ylabel("validation MAE")
    lower.set_xlabel("epoch")
    if best_epoch is not None:
        for axes in (upper, lower):
            axes.axvline(best_epoch, color=style.MUTED, lw=0.9, ls=(0, (4, 2)), zorder=1)
        upper.set_title(f"best model: epoch {best_epoch}", fontsize=8.0, loc="right", color=style.MUTED)
    return figure


def _column(rows: Sequence[Mapping[str, Any]], key: str) -> NDArray[np.float64]:
    """One column, shape (rows,), NaN where a row lacks it."""
    values = (row.get(key) for row in rows)
    return np.array([np.nan if value is None else float(value) for value in values], dtype=float)


def _curves(axes: Axes, epochs: NDArray[np.float64], curves: list[tuple[NDArray[np.float64], str, str]]) -> None:
    """Curves of the values above zero on a logarithmic axis; curves without any are left out."""
    drawn = []
    for values, label, colour in curves:
        kept = np.isfinite(values) & (values > 0.0)
        if kept.any():
            axes.plot(
                epochs[kept], values[kept], color=colour, label=label, marker="o" if kept.sum() < 25 else "", ms=3
            )
            drawn.append(values[kept])
    if drawn:
        style.log_axis(axes, "y", min(map(np.min, drawn)), max(map(np.max, drawn)))
        axes.legend(loc="best", handlelength=1.4)
    style.light_grid(axes)
