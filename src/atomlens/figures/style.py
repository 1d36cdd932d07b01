"""How every figure looks: type, lines, colours and units; and how it is saved."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Literal, ParamSpec

import matplotlib
import numpy as np
from ase.data import atomic_numbers
from ase.data.colors import jmol_colors
from matplotlib.axes import Axes
from matplotlib.colors import rgb_to_hsv, to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, LogFormatterSciNotation, LogLocator, NullFormatter, NullLocator

from atomlens.data.units import ENERGY, FORCE, KCAL_PER_MOL, parse_unit
from atomlens.files import replacing

# One column: at this width the type stays readable on a phone, and two figures stand side by side on a desk.
WIDTH = 4.6  # inches

INK = "#1c2733"
MUTED = "#5d6b78"
HAIRLINE = "#d9dfe4"
BLUE = "#1f5fa8"  # with ORANGE: two hues that every kind of colour vision tells apart
ORANGE = "#c8590f"
GREEN = "#2f7d5b"
DIVERGING = "RdBu_r"  # negative blue, positive red, as in the thesis (figure 4.4)
SEQUENTIAL = "viridis"

_RC: Any = {
    "font.family": "DejaVu Sans",  # ships with matplotlib, so figures are the same everywhere
    "font.size": 9.0,
    "mathtext.fontset": "dejavusans",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.7,
    "axes.labelsize": 9.0,
    "axes.titlesize": 9.0,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "axes.formatter.useoffset": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "grid.color": HAIRLINE,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.5,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "figure.dpi": 100.0,
    "savefig.dpi": 200.0,
    "savefig.facecolor": "white",
    "svg.hashsalt": "atomlens",
    "svg.fonttype": "path",
}

# CPK hues, moved to a middle brightness so that they hold on white and on black.
_ELEMENT_COLOURS = {
    "H": "#8f9aa6",
    "C": "#5f6b78",
    "N": "#3566c4",
    "O": "#cf3f36",
    "F": "#3c9a6b",
    "Si": "#b08c5a",
    "P": "#dd7d1c",
    "S": "#b99608",
    "Cl": "#2f8f2f",
    "Br": "#96492f",
    "I": "#7a43a3",
}

Parameters = ParamSpec("Parameters")


def styled(draw: Callable[Parameters, Figure]) -> Callable[Parameters, Figure]:
    """Let a drawing function use the house style, and leave matplotlib's settings as they were."""

    @wraps(draw)
    def wrapped(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Figure:
        with matplotlib.rc_context(_RC):
            return draw(*args, **kwargs)

    return wrapped


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """An empty figure (inches) that arranges its own margins."""
    return Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.09, h_pad=0.09))


def save_figure(figure: Figure, folder: str | Path, name: str) -> Path:
    """Write ``name.svg`` and ``name.png`` into a folder, each in one step; the same figure gives the same bytes.

    Returns:
        The path of the SVG; the PNG lies beside it.
    """
    vector = Path(folder) / f"{name}.svg"
    metadata: dict[str, dict[str, Any]] = {".svg": {"Date": None, "Creator": None}, ".png": {"Software": None}}
    with matplotlib.rc_context(_RC):
        for suffix, about in metadata.items():
            with replacing(vector.with_suffix(suffix)) as temporary:
                figure.savefig(temporary, metadata=about)
    return vector


def element_colour(symbol: str) -> str:
    """A colour (``#rrggbb``) for an element: CPK hue, neither too light nor too dark to be seen on either theme."""
    if symbol in _ELEMENT_COLOURS:
        return _ELEMENT_COLOURS[symbol]
    hue, saturation, value = rgb_to_hsv(jmol_colors[atomic_numbers.get(symbol, 0)])
    rgb = matplotlib.colors.hsv_to_rgb((hue, min(1.0, 0.25 + saturation), value))
    brightness = luminance(rgb)
    red, green, blue = np.clip(rgb * np.sqrt(min(1.0, 0.32 / max(brightness, 1e-3))), 0.12, 1.0).tolist()
    return to_hex((red, green, blue))


def luminance(colour: Any) -> float:
    """Relative luminance of a colour, from 0 (black) to 1 (white) (WCAG 2.2)."""
    rgb = np.asarray(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ np.array([0.2126, 0.7152, 0.0722]))


def text_on(colour: Any) -> str:
    """Dark or white, whichever stands out more against a colour."""
    return INK if luminance(colour) > 0.2 else "white"


def shown_unit(unit: str) -> tuple[float, str]:
    """The factor and the name with which a unit is shown: energies and forces per mole in kcal, others as they are."""
    factor, dimension = parse_unit(unit)
    if dimension == ENERGY:
        return factor / KCAL_PER_MOL, "kcal/mol"
    if dimension == FORCE:
        return factor / KCAL_PER_MOL, "kcal/mol/Å"
    return 1.0, plain_unit(unit)


def plain_unit(unit: str) -> str:
    """A unit as it is printed: ``eV/Ang`` is ``eV/Å``."""
    return unit.replace("Ang", "Å").replace("^3", "³").replace("^2", "²").replace("*", "·")


def log_axis(axes: Axes, which: Literal["x", "y"], low: float, high: float) -> None:
    """A logarithmic axis with readable ticks, be it half a decade or ten."""
    axes.set(**{f"{which}scale": "log"})
    axis = axes.xaxis if which == "x" else axes.yaxis
    decades = np.log10(high / low)
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())
    subdivisions = (1.0,) if decades > 2.5 else (1.0, 2.0, 5.0) if decades > 0.7 else tuple(np.arange(1.0, 10.0, 0.5))
    axis.set_major_locator(LogLocator(subs=subdivisions, numticks=12))
    plain = low >= 9e-4 and high <= 2e4
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}") if plain else LogFormatterSciNotation())


def light_grid(axes: Axes) -> None:
    """A faint grid, to read values by."""
    axes.grid(visible=True)
    axes.tick_params(length=0)
