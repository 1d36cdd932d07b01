"""The input of i-PI for one path: what is simulated how, without any numbers of the state."""

from __future__ import annotations

import ase
import numpy as np
from ase import units

from atomlens.simulate.path_integrals.config import PathIntegralConfig
from atomlens.simulate.path_integrals.gle import Matrices

_DUMMY_CELL = 1e4  # Å; i-PI wants a cell where there is none, and does nothing with it at constant volume
_CELL_FRICTION_TIME = 100.0  # fs, of the noise on the cell


def ipi_input(
    config: PathIntegralConfig, atoms: ase.Atoms, cell: np.ndarray | None, seed: int, gle: Matrices | None
) -> str:
    """The XML of one path. Positions and momenta are set by whoever builds it.

    Args:
        config: of the run.
        atoms: the structure.
        cell: (3, 3) Å, rows, lower triangular; None where the volume does not move.
        seed: of this path.
        gle: matrices of the thermostat "gle".
    """
    lattice = (_DUMMY_CELL * np.eye(3) if cell is None else cell).T
    pressure = f"<pressure units='ase'>{config.pressure * units.GPa!r}</pressure>" if config.ensemble == "npt" else ""
    return f"""
<simulation verbosity='quiet' safe_stride='1000000000' threading='False'>
  <prng><seed>{seed}</seed></prng>
  <ffdirect name='model' threaded='False' pbc='False'><pes>dummy</pes><batch_size>{config.beads}</batch_size></ffdirect>
  <output prefix='i-pi'></output>
  <system>
    <beads natoms='{len(atoms)}' nbeads='{config.beads}'>
      <m units='ase' shape='({len(atoms)})'>{_numbers(atoms.get_masses())}</m>
      <names shape='({len(atoms)})'>[{", ".join(atoms.get_chemical_symbols())}]</names>
    </beads>
    <cell shape='(3, 3)' units='ase'>{_numbers(lattice)}</cell>
    <normal_modes transform='matrix'></normal_modes>
    <forces><force forcefield='model'></force></forces>
    <ensemble><temperature units='ase'>{config.temperature!r}</temperature>{pressure}</ensemble>
    <motion mode='dynamics'>
      <fixcom>{config.fix_centre}</fixcom>
      <dynamics mode='{config.ensemble}'>
        <timestep units='ase'>{config.timestep * units.fs!r}</timestep>
        {"" if config.ensemble == "nve" else _thermostat(config, gle)}
        {_barostat(config) if config.ensemble == "npt" else ""}
      </dynamics>
    </motion>
  </system>
</simulation>"""


def _thermostat(config: PathIntegralConfig, gle: Matrices | None) -> str:
    if gle is not None:
        shape = gle.drift.shape
        blocks = f"<A shape='{shape}'>{_numbers(gle.drift)}</A><C shape='{shape}'>{_numbers(gle.covariance)}</C>"
        return f"<thermostat mode='nm_gle'>{blocks}</thermostat>"
    tau = f"<tau units='ase'>{config.thermostat_time * units.fs!r}</tau>"
    if config.thermostat == "langevin":
        return f"<thermostat mode='langevin'>{tau}</thermostat>"
    mode = config.thermostat.replace("-", "_")
    strength = f"<pile_lambda>{config.internal_friction!r}</pile_lambda>"
    return f"<thermostat mode='{mode}'>{tau}{strength}</thermostat>"


def _barostat(config: PathIntegralConfig) -> str:
    return f"""<barostat mode='{config.barostat}'>
          <tau units='ase'>{config.barostat_time * units.fs!r}</tau>
          <thermostat mode='langevin'><tau units='ase'>{_CELL_FRICTION_TIME * units.fs!r}</tau></thermostat>
        </barostat>"""


def _numbers(values: np.ndarray) -> str:
    return "[" + ", ".join(repr(float(value)) for value in values.ravel()) + "]"
