"""The registry of descriptors: one row each."""

from __future__ import annotations

from atomlens.baselines.atom_centred import soap, symmetry_functions
from atomlens.baselines.bag_of_bonds import bag_of_bonds
from atomlens.baselines.coulomb import coulomb_eigenspectrum, sorted_coulomb_matrix, unsorted_coulomb_matrix
from atomlens.baselines.crystal_matrices import ewald_eigenspectrum, sine_eigenspectrum
from atomlens.baselines.descriptor import Descriptor
from atomlens.baselines.hdad import hdad
from atomlens.baselines.radial_distribution import partial_radial_distributions

_ROWS = (
    Descriptor(
        "coulomb_matrix",
        ("molecules",),
        "Coulomb matrix, rows sorted by length (dscribe)",
        "Rupp et al., Phys. Rev. Lett. 108, 058301 (2012)",
        sorted_coulomb_matrix,
    ),
    Descriptor(
        "coulomb_matrix_unsorted",
        ("trajectory",),
        "Coulomb matrix in the order of the file (dscribe)",
        "Rupp et al., Phys. Rev. Lett. 108, 058301 (2012)",
        unsorted_coulomb_matrix,
    ),
    Descriptor(
        "coulomb_eigenspectrum",
        ("molecules",),
        "eigenvalues of the Coulomb matrix (dscribe)",
        "Rupp et al., Phys. Rev. Lett. 108, 058301 (2012)",
        coulomb_eigenspectrum,
    ),
    Descriptor(
        "bag_of_bonds",
        ("molecules",),
        "terms of the Coulomb matrix, sorted within bags of alike pairs",
        "Hansen et al., J. Phys. Chem. Lett. 6, 2326 (2015)",
        bag_of_bonds,
    ),
    Descriptor(
        "hdad",
        ("molecules",),
        "histograms of distances, bond angles and dihedrals",
        "after Faber et al., J. Chem. Theory Comput. 13, 5255 (2017)",
        hdad,
    ),
    Descriptor(
        "prdf",
        ("molecules", "crystals"),
        "partial radial distribution functions",
        "Schütt et al., Phys. Rev. B 89, 205118 (2014)",
        partial_radial_distributions,
        extensive=False,
    ),
    Descriptor(
        "symmetry_functions",
        ("molecules", "crystals"),
        "weighted symmetry functions of atoms, kernel over atoms",
        "Gastegger et al., J. Chem. Phys. 148, 241709 (2018)",
        symmetry_functions,
        per="atom",
    ),
    Descriptor(
        "soap",
        ("molecules", "crystals"),
        "smooth overlap of atomic positions, kernel over atoms (dscribe)",
        "Bartók et al., Phys. Rev. B 87, 184115 (2013)",
        soap,
        per="atom",
    ),
    Descriptor(
        "sine_matrix",
        ("crystals",),
        "eigenvalues of the sine matrix",
        "Faber et al., Int. J. Quantum Chem. 115, 1094 (2015)",
        sine_eigenspectrum,
    ),
    Descriptor(
        "ewald_matrix",
        ("crystals",),
        "eigenvalues of the Ewald sum matrix (dscribe)",
        "Faber et al., Int. J. Quantum Chem. 115, 1094 (2015)",
        ewald_eigenspectrum,
    ),
)
DESCRIPTORS: dict[str, Descriptor] = {row.name: row for row in _ROWS}
