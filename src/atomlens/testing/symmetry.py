"""Checks that compare two descriptions of the same atoms: moved, turned, mirrored, renamed, repeated, batched."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import ase
import numpy as np
import torch
from torch import Tensor

from atomlens.data.quantities import quantity
from atomlens.model import Model
from atomlens.testing.result import Measurement, NotApplicable
from atomlens.testing.subject import Outputs, Subject, each, evaluate, largest

# A comparison joins the rounding errors of two evaluations, on other numbers than those it was estimated on.
ROUNDINGS = 20.0
FAR = np.array([7.3, -4.1, 2.9])  # Å


def translation(subject: Subject) -> list[Measurement]:
    """Everything stays when all atoms move together."""

    def moved(atoms: ase.Atoms) -> ase.Atoms:
        made = atoms.copy()
        made.positions += FAR
        return made

    return _same_after(subject, subject.everything, moved)


def rotation(subject: Subject) -> list[Measurement]:
    """Scalars stay, vectors and tensors turn with the structure."""
    return _turned(subject, _random_rotation())


def reflection(subject: Subject) -> list[Measurement]:
    """Scalars stay in the mirror image, vectors and tensors are mirrored."""
    return _turned(subject, _random_rotation() @ np.diag([1.0, 1.0, -1.0]))


def permutation(subject: Subject) -> list[Measurement]:
    """The order of atoms changes nothing but the order of the atoms' outputs."""
    random = np.random.default_rng(1)
    found: list[Measurement] = []
    for model in subject.precisions:
        for atoms, before in each(model, subject.everything):
            order = random.permutation(len(atoms))
            after = evaluate(model, [atoms[order]])
            expected = {name: value[order] if quantity(name).per == "atom" else value for name, value in before.items()}
            found += compared(subject, model, after, expected, atoms)
    return found


def lattice_shift(subject: Subject) -> list[Measurement]:
    """Nothing changes when single atoms move by whole lattice vectors along periodic directions."""
    periodic = _periodic(subject)
    random = np.random.default_rng(2)

    def shifted(atoms: ase.Atoms) -> ase.Atoms:
        made = atoms.copy()
        made.positions += (random.integers(-3, 4, (len(atoms), 3)) * atoms.pbc) @ atoms.cell.array
        return made

    return _same_after(subject, periodic, shifted)


def supercell(subject: Subject) -> list[Measurement]:
    """A repeated cell has as many times the extensive properties; all others, forces among them, are the same."""
    periodic = _periodic(subject)
    found: list[Measurement] = []
    for model in subject.precisions:
        for atoms, before in each(model, periodic):
            counts = np.where(atoms.pbc, (2, 1, 3), 1)
            copies, larger = int(counts.prod()), atoms.repeat(counts)
            after = evaluate(model, [larger])
            expected = {name: _repeated(name, value, copies) for name, value in before.items()}
            found += compared(subject, model, after, expected, larger)
    return found


def batching(subject: Subject) -> list[Measurement]:
    """A batch of different structures gives what its structures give one by one; so does `predict` on the list."""
    alone = [atoms[:1] for atoms in subject.molecules[:1]]
    mixed = [*subject.molecules, *alone, *subject.slabs, *subject.crystals]
    found: list[Measurement] = []
    for model in subject.precisions:
        together = evaluate(model, mixed)
        ends = np.cumsum([len(atoms) for atoms in mixed])
        listed = model.predict(mixed, stress=False)
        for place, (atoms, single) in enumerate(each(model, mixed)):
            rows = slice(ends[place] - len(atoms), ends[place])
            part = {
                name: value[rows] if quantity(name).per == "atom" else value[place : place + 1]
                for name, value in together.items()
            }
            expected = {name: single[name] for name in part}
            found += compared(subject, model, part, expected, atoms, " in a batch")
            of_list = {name: torch.from_numpy(np.asarray(value)) for name, value in listed[place].items()}
            expected = {name: single[name].cpu().reshape(of_list[name].shape) for name in of_list}
            found += compared(subject, model, of_list, expected, atoms, " in a list")
    return found


def compared(
    subject: Subject, model: Model, after: Outputs, expected: Outputs, atoms: ase.Atoms, where: str = ""
) -> Iterator[Measurement]:
    """Largest deviation per quantity, bounded by the model's rounding in its precision.

    ``atoms``, the largest structure compared, scales the bound of totals. A bound is `ROUNDINGS` times the rounding
    error measured on structures of this kind, plus that of adding references and sums in float64.
    """
    precision = str(model.dtype).removeprefix("torch.")
    scale = subject.scale(atoms)
    for name, value in expected.items():
        kind = quantity(name)
        learned = ROUNDINGS * scale.rounding(name, model.dtype)
        sums = 4.0 * torch.finfo(torch.float64).eps * scale.magnitude[name]
        share = len(atoms) if kind.per == "system" else 1
        place = f"{name} of {atoms.symbols}{where}, {precision}"
        yield Measurement(place, largest(after[name] - value), share * (learned + sums), kind.unit)


def _same_after(
    subject: Subject,
    structures: Sequence[ase.Atoms],
    change: Callable[[ase.Atoms], ase.Atoms],
    expect: Callable[[str, Tensor], Tensor] | None = None,
) -> list[Measurement]:
    found: list[Measurement] = []
    for model in subject.precisions:
        for atoms, before in each(model, structures):
            after = evaluate(model, [change(atoms)])
            expected = {name: expect(name, value) if expect else value for name, value in before.items()}
            found += compared(subject, model, after, expected, atoms)
    return found


def _turned(subject: Subject, matrix: np.ndarray) -> list[Measurement]:
    def turned(atoms: ase.Atoms) -> ase.Atoms:
        made = atoms.copy()
        made.set_cell(made.cell.array @ matrix)
        made.positions = made.positions @ matrix
        return made

    def expected(name: str, value: Tensor) -> Tensor:
        axes = len(quantity(name).shape)
        turn = torch.from_numpy(matrix).to(value)
        if axes == 2:
            return turn.T @ value @ turn
        return value @ turn if axes == 1 else value

    return _same_after(subject, subject.everything, turned, expected)


def _random_rotation() -> np.ndarray:
    matrix, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
    return np.asarray(matrix * np.linalg.det(matrix))  # the sign makes it a proper rotation


def _repeated(name: str, value: Tensor, copies: int) -> Tensor:
    if quantity(name).per == "atom":
        return value.repeat(copies, *[1] * (value.dim() - 1))
    return value * copies if quantity(name).extensive else value


def _periodic(subject: Subject) -> tuple[ase.Atoms, ...]:
    if subject.open_only:
        raise NotApplicable(subject.open_only)
    return subject.crystals + subject.slabs
