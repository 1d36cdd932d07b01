"""What is timed, and what is asked of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from atomlens.data.system import AtomicSystem
from benchmarks.contestants.job import DYNAMICS, ENERGY_TRAINING, FORCE_TRAINING, INFERENCE, Network
from benchmarks.structures import cage, ethanol_frames, mixed_molecules, silicon

MOLECULES, FRAMES, CRYSTAL = 256, 32, 10_000
SMALL_CRYSTAL = 216  # atoms, to load and compile everything before memory is measured
SIZES = (1_000, 3_000, 10_000, 30_000, 100_000)
QUICK_SIZES = SIZES[:3]


def schnet(features: int, interactions: int, cutoff: float, gaussians: int) -> Network:
    """A SchNet with a cosine cutoff, which all contestants have, and the documents' γ of 10 Å⁻² (thesis eq. 4.11)."""
    return Network(features, interactions, gaussians, cutoff, 10.0, cutoff, filter_activations=1)


SCHNET_MOLECULES = schnet(64, 6, 12.0, 120)
SCHNET_ETHANOL = schnet(64, 3, 5.0, 51)
SCHNET_SILICON = schnet(64, 3, 5.0, 51)
SCHNET_CAGE = Network(128, 6, 200, 20.0, 10.0, cutoff=None, filter_activations=2)  # of the published C20 models


@dataclass(frozen=True)
class Targets:
    """What issue 3 asks of atomlens; None: nothing."""

    speed: float | None = None  # times schnetpack's
    milliseconds: float | None = None  # at most
    memory: float | None = None  # of schnetpack's, at most


@dataclass(frozen=True)
class Case:
    """One piece of work for all contestants."""

    number: int
    title: str
    kind: str
    network: Network
    structures: Callable[[], tuple[Sequence[AtomicSystem], str]]
    targets: Targets = field(default_factory=Targets)
    published_weights: bool = False
    measures_memory: bool = False
    per_atom: bool = False  # energies are compared per atom: rounding of a total grows with its size


def _molecules() -> tuple[Sequence[AtomicSystem], str]:
    return mixed_molecules(MOLECULES)


def _frames() -> tuple[Sequence[AtomicSystem], str]:
    return ethanol_frames(FRAMES)


def _cage() -> tuple[Sequence[AtomicSystem], str]:
    found, source = cage()
    return [found], source


def _crystal() -> tuple[Sequence[AtomicSystem], str]:
    return [silicon(CRYSTAL)], "diamond structure, rattled"


CASES = (
    Case(1, "energy training step, 256 molecules", ENERGY_TRAINING, SCHNET_MOLECULES, _molecules, Targets(20.0)),
    Case(2, "energy + force training step, 256 molecules", FORCE_TRAINING, SCHNET_MOLECULES, _molecules, Targets(15.0)),
    Case(3, "energies + forces, 256 molecules", INFERENCE, SCHNET_MOLECULES, _molecules, Targets(15.0)),
    Case(4, "energy + force training step, 32 ethanol frames", FORCE_TRAINING, SCHNET_ETHANOL, _frames, Targets(5.0)),
    Case(
        5,
        "molecular-dynamics step through ASE, C20",
        DYNAMICS,
        SCHNET_CAGE,
        _cage,
        Targets(8.0, milliseconds=3.0),
        published_weights=True,
    ),
    Case(
        6,
        "energy + forces, silicon crystal",
        INFERENCE,
        SCHNET_SILICON,
        _crystal,
        Targets(10.0, memory=0.1),
        measures_memory=True,
        per_atom=True,
    ),
)
SCALING, AGREEMENT = 6, 7  # numbers of what only atomlens is measured for; scaling goes with the crystal
AGREEMENT_CASES = (4, 2)
LINEAR = 1.1  # the largest exponent of time against atoms that counts as linear
AGREEMENT_TARGETS = {"energy": 1e-6, "forces": 1e-4, "gradient": 1e-4}  # relative, fast against exact filters
GATE = {"energy": 1e-5, "forces": 1e-4}  # eV, and of the forces' RMS: beyond it no one is timed
