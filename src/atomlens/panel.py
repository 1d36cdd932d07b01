"""What analyses and simulations hand over for a report: numbers, figures, interactive views, checks beside claims."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Check:
    """Something that a panel says against something independent of it.

    A computation that fails is a fault. A claim (``claim``) that fails is a finding: the network did not learn what
    one may hope or read elsewhere that it learns.
    """

    name: str  # a few words
    what: str  # one sentence: what is compared with what
    value: float
    limit: str  # in words, such as "below 1e-6 eV"
    unit: str
    passed: bool
    claim: bool = False

    def to_dict(self) -> dict[str, Any]:
        """For JSON; a number that is not finite becomes None."""
        value = float(self.value) if np.isfinite(self.value) else None
        return vars(self) | {"value": value, "passed": bool(self.passed)}


@dataclass(frozen=True)
class Table:
    """Rows for the page; numbers are already in the units that the columns name."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | int | float, ...], ...]


@dataclass(frozen=True)
class AtomValues:
    """A number for every atom of one structure, by which the page colours them."""

    name: str  # also the name of the `Distribution` that the atoms belong to
    unit: str
    values: np.ndarray  # (atoms,)


@dataclass(frozen=True)
class Surface:
    """A triangulated surface around one structure, coloured by a field."""

    name: str
    unit: str
    vertices: np.ndarray  # (vertices, 3) Å
    triangles: np.ndarray  # (triangles, 3) rows of vertices
    values: np.ndarray  # (vertices,)


@dataclass(frozen=True)
class Volume:
    """A field on a regular grid around one structure, through which the page moves a plane."""

    name: str
    unit: str
    origin: np.ndarray  # (3,) Å, the first grid point
    steps: np.ndarray  # (3, 3) Å, rows lead from one grid point to the next along each axis
    values: np.ndarray  # (nx, ny, nz); NaN where nothing is to be shown
    limit: float  # where the colour scale ends, in both directions from zero


@dataclass(frozen=True)
class Distribution:
    """Values of all atoms of the data set, by element; the page draws histograms and marks the chosen atom in them."""

    name: str
    unit: str
    per_element: Mapping[str, np.ndarray]  # symbol to (atoms,)


@dataclass(frozen=True)
class Series:
    """One line or one cloud of points of a chart."""

    name: str
    x: np.ndarray
    y: np.ndarray
    mode: Literal["lines", "markers", "dashed", "text"] = "lines"  # "text": markers with their labels beside them
    labels: tuple[str, ...] = ()  # one per point, shown on hovering
    colour: str | None = None  # "#rrggbb"; None: the page chooses


@dataclass(frozen=True)
class Chart:
    """A two-dimensional chart that can be hovered over and zoomed."""

    title: str
    x_label: str  # with the unit in brackets
    y_label: str
    series: tuple[Series, ...]
    equal: bool = False  # one unit is as long along x as along y


@dataclass(frozen=True)
class Motion:
    """Motions of one structure that the page plays as r + amplitude · displacement · sin(phase), one at a time."""

    name: str
    labels: tuple[str, ...]  # of each motion, such as "12: 1587.3 cm⁻¹"
    displacements: np.ndarray  # (motions, atoms, 3), the largest step of an atom being 1
    amplitude: float = 0.4  # Å


@dataclass(frozen=True)
class Trajectory:
    """Frames of a run of one structure that the page plays.

    Of long runs the page takes evenly spaced frames, and it takes away how the structure drifts as a whole.
    """

    name: str
    unit: str  # of the times
    times: np.ndarray  # (frames,)
    positions: np.ndarray  # (frames, atoms, 3) Å, not wrapped into the cell; of a path integral its centroids
    beads: np.ndarray | None = None  # (frames, beads, atoms, 3) Å, shown as translucent copies


View = AtomValues | Surface | Volume | Distribution | Chart | Motion | Trajectory


@dataclass(frozen=True)
class Panel:
    """One panel of the report, of one structure or of models and data as a whole.

    Where an analysis cannot be made, ``unavailable`` says why in one sentence and the rest is empty.
    """

    analysis: str  # name of its `Topic`
    structure: int | None = None  # place among the structures shown; None: about models or data
    reading: str = ""  # what is seen here, in plain language, with numbers
    trust: str = ""  # how many models, how stable, checked against what
    checks: tuple[Check, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)  # everything, for JSON
    figures: Mapping[str, Figure] = field(default_factory=dict)  # for a paper; by name, unique within the analysis
    tables: tuple[Table, ...] = ()
    views: tuple[View, ...] = ()
    files: Mapping[str, Callable[[Path], None]] = field(default_factory=dict)  # file name to what writes it there
    unavailable: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Numbers and sentences, for JSON."""
        if self.unavailable:
            return {"unavailable": self.unavailable}
        words = {"reading": self.reading, "trust": self.trust, "checks": [check.to_dict() for check in self.checks]}
        return {**words, **self.facts}


@dataclass(frozen=True)
class Topic:
    """What a panel is about: an analysis of models, or of a simulation."""

    name: str
    title: str
    definition: str  # one or two sentences with the formula
    source: str  # document and equation or figure
