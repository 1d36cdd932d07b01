"""Explanations: what a model has learned, in terms that a chemist knows.

An analysis is one file, or a folder of files, with an `Analysis` that the registry (`analyses.py`) names.
"""

from atomlens.explain.alchemy.alchemical_path import AlchemicalPath, alchemical_path
from atomlens.explain.alchemy.azine_chain import AzineChain, azine_chain
from atomlens.explain.analysis import Analysis
from atomlens.explain.electrostatics.charge_comparison import (
    ChargeAgreement,
    DipoleAgreement,
    ModelPair,
    charge_stability,
    compare_charges,
    compare_dipoles,
)
from atomlens.explain.electrostatics.charge_sign import ChargeSign, charge_sign, latent_charges
from atomlens.explain.electrostatics.point_charges import (
    coulomb_potential,
    electrostatic_cut,
    electrostatic_grid,
    electrostatic_potential,
)
from atomlens.explain.electrostatics.potential_comparison import PotentialComparison, compare_potentials
from atomlens.explain.electrostatics.quantum_potential import quantum_potential
from atomlens.explain.electrostatics.xtb_charges import xtb_charges
from atomlens.explain.elements.elements import (
    ElementEmbeddings,
    PrincipalComponents,
    element_embeddings,
    principal_components,
)
from atomlens.explain.elements.embedding_statistics import ClusterScore, cluster_score, order_within_classes
from atomlens.explain.errors.isomer_ranking import IsomerRanking, rank_isomers
from atomlens.explain.errors.learning_curve import LearningCurve, learning_curves
from atomlens.explain.errors.structure_errors import ErrorAnalysis, ForceErrors, error_analysis, force_errors
from atomlens.explain.errors.training_overlap import TrainingOverlap, training_overlap
from atomlens.explain.interactions.bond_breaking import BondSensitivity, bond_sensitivity
from atomlens.explain.interactions.filter_cuts import FilterCut, filter_cut, periodic_filters
from atomlens.explain.interactions.pair_distances import PairDistances, pair_distances
from atomlens.explain.interactions.radial_filters import RadialFilters, radial_filters
from atomlens.explain.partition.additive import GroupModel, additive_groups
from atomlens.explain.partition.agreement import PartitionStability, partition_stability
from atomlens.explain.partition.contributions import AtomContributions, atom_contributions
from atomlens.explain.probes.chemical_potential import (
    LocalChemicalPotential,
    PotentialCut,
    PotentialSurface,
    local_chemical_potential,
    potential_at,
    potential_cut,
    probe_reach,
)
from atomlens.explain.probes.field import Grid, Plane, ScalarField
from atomlens.explain.probes.isosurface import Isosurface, isosurface
from atomlens.explain.probes.probes import Probing
from atomlens.explain.rings.ring_perception import Ring, find_rings
from atomlens.explain.rings.rings import RingEnergies, ring_energies
from atomlens.explain.subject import ExplainConfig, NamedModel, Subject
from atomlens.panel import Check, Panel

__all__ = [
    "AlchemicalPath",
    "Analysis",
    "AtomContributions",
    "AzineChain",
    "BondSensitivity",
    "ChargeAgreement",
    "ChargeSign",
    "Check",
    "ClusterScore",
    "DipoleAgreement",
    "ElementEmbeddings",
    "ErrorAnalysis",
    "ExplainConfig",
    "FilterCut",
    "ForceErrors",
    "Grid",
    "GroupModel",
    "IsomerRanking",
    "Isosurface",
    "LearningCurve",
    "LocalChemicalPotential",
    "ModelPair",
    "NamedModel",
    "PairDistances",
    "Panel",
    "PartitionStability",
    "Plane",
    "PotentialComparison",
    "PotentialCut",
    "PotentialSurface",
    "PrincipalComponents",
    "Probing",
    "RadialFilters",
    "Ring",
    "RingEnergies",
    "ScalarField",
    "Subject",
    "TrainingOverlap",
    "additive_groups",
    "alchemical_path",
    "atom_contributions",
    "azine_chain",
    "bond_sensitivity",
    "charge_sign",
    "charge_stability",
    "cluster_score",
    "compare_charges",
    "compare_dipoles",
    "compare_potentials",
    "coulomb_potential",
    "electrostatic_cut",
    "electrostatic_grid",
    "electrostatic_potential",
    "element_embeddings",
    "error_analysis",
    "filter_cut",
    "find_rings",
    "force_errors",
    "isosurface",
    "latent_charges",
    "learning_curves",
    "local_chemical_potential",
    "order_within_classes",
    "pair_distances",
    "partition_stability",
    "periodic_filters",
    "potential_at",
    "potential_cut",
    "principal_components",
    "probe_reach",
    "quantum_potential",
    "radial_filters",
    "rank_isomers",
    "ring_energies",
    "training_overlap",
    "xtb_charges",
]
