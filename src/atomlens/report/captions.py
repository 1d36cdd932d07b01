"""What stands under every figure: its definition, where that comes from, and how to read it."""

from __future__ import annotations

from dataclasses import dataclass

THESIS = "K. T. Schütt, Learning Representations of Atomistic Systems with Deep Neural Networks (the thesis)"
PAPER = "Schütt, Gastegger, Tkatchenko, Müller, Quantum-chemical insights from interpretable atomistic neural networks"


@dataclass(frozen=True)
class Caption:
    """Text of one figure: a short title (also its alternative text), definition, source and plain reading."""

    title: str
    definition: str
    source: str
    reading: str


CAPTIONS: dict[str, Caption] = {
    "parity_energy": Caption(
        "Energies: predicted against reference",
        "One point per test frame; the small histogram shows predicted − reference.",
        "MAE = mean |Ê − E|, RMSE = √mean (Ê − E)².",
        "Points on the line are right. A bent or shifted cloud would be a systematic error; a symmetric histogram "
        "around zero says there is none.",
    ),
    "parity_forces": Caption(
        "Force components: predicted against reference",
        "Every Cartesian component of the force on every atom of the test frames.",
        "F̂_i = −∂Ê/∂r_i: thesis, eq. 2.3 and section 5.1.",
        "Forces are derivatives of the predicted energy, so they conserve it by construction. The ends of the line are "
        "the most strained frames, where errors tend to be largest.",
    ),
    "learning_curve": Caption(
        "Learning curve",
        "Loss on training and validation frames, and mean absolute errors on the validation frames, after each epoch.",
        "Loss ρ|E − Ê|² + (1/n) Σ_i |F_i − F̂_i|² over the n atoms (energies alone: its first term): thesis, eq. 5.7.",
        "The dashed line marks the model that was kept. Curves still falling at the end ask for a longer training; "
        "a rising validation loss would be overfitting.",
    ),
    "atom_contributions": Caption(
        "What each atom adds to the energy",
        "The network predicts the energy as a sum over atoms, E = Σ_i E_i; every atom is coloured by its E_i.",
        "Insights paper, eq. 2; thesis, section 3.6.1.",
        "Blue atoms lower the energy, red ones raise it, by this network's way of sharing it out. Outlines are the "
        "elements' colours.",
    ),
    "energy_drift": Caption(
        "A constant-energy run",
        "Molecular dynamics with the model's forces and no thermostat; below, the total energy on a finer scale.",
        "Energy conservation: thesis, eqs. 5.3 and 5.4.",
        "Energy flows between potential and kinetic; their sum must stay. A steep dashed line would mean that forces "
        "and energy disagree.",
    ),
    "force_order": Caption(
        "Forces against finite differences",
        "Difference between the model's forces and central differences of its energy (root mean square), by step.",
        "F = −∂E/∂r (thesis, eq. 2.3); the truncation error of central differences is of order 2 in the step.",
        "Errors that fall with the square of the step show that the forces are the exact derivative. To the far left, "
        "rounding takes over.",
    ),
}


def caption(name: str) -> Caption:
    """The caption of a figure; a name such as ``parity_energy_2`` is a variant of a known one, others stand alone."""
    for known, text in CAPTIONS.items():
        if name == known or name.startswith(f"{known}_"):
            return text
    return Caption(name.replace("_", " ").capitalize(), "", "", "")
