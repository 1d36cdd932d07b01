"""From what a user writes to a structure: a file, the name of a small molecule, or a SMILES string."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase
import ase.io
import numpy as np
from ase.build import molecule
from ase.collections import g2
from ase.io.formats import ioformats

from atomlens.config import nearest
from atomlens.data.system import AtomicSystem
from atomlens.errors import InputError

SMILES_PREFIX = "smiles:"
EMBEDDING_SEED = 0

# Common names of molecules of the G2 set; formulas alone are not always telling there (C3H6_Cs is propene).
ALIASES = {
    "acetaldehyde": "CH3CHO", "acetamide": "CH3CONH2", "acetic acid": "CH3COOH", "acetone": "CH3COCH3",
    "acetonitrile": "CH3CN", "acetylene": "C2H2", "acrylonitrile": "H2CCHCN", "allene": "C3H4_D2d", "ammonia": "NH3",
    "aziridine": "CH2NHCH2", "benzene": "C6H6", "butane": "trans-butane", "carbon dioxide": "CO2",
    "carbon monoxide": "CO", "chloroform": "HCCl3", "cyclopropane": "C3H6_D3h", "cyclopropene": "C3H4_C2v",
    "dichloromethane": "H2CCl2", "dimethyl ether": "CH3OCH3", "dimethyl sulfoxide": "C2H6SO", "dimethylamine": "C2H6NH",
    "dmso": "C2H6SO", "ethane": "C2H6", "ethanethiol": "CH3CH2SH", "ethanol": "CH3CH2OH", "ethene": "C2H4",
    "ethylamine": "CH3CH2NH2", "ethylene": "C2H4", "ethylene oxide": "CH2OCH2", "ethyne": "C2H2",
    "formaldehyde": "H2CO", "formic acid": "HCOOH", "furan": "C4H4O", "glyoxal": "OCHCHO", "hydrazine": "N2H4",
    "hydrogen": "H2", "hydrogen cyanide": "HCN", "hydrogen peroxide": "H2O2", "hydrogen sulfide": "SH2",
    "isopropanol": "C2H6CHOH", "ketene": "H2CCO", "methane": "CH4", "methanethiol": "CH3SH", "methanol": "CH3OH",
    "methyl formate": "HCOOCH3", "methylamine": "H3CNH2", "nitrogen": "N2", "nitromethane": "CH3NO2",
    "oxirane": "CH2OCH2", "oxygen": "O2", "ozone": "O3", "propane": "C3H8", "propene": "C3H6_Cs", "propyne": "C3H4_C3v",
    "pyridine": "C5H5N", "pyrrole": "C4H4NH", "silane": "SiH4", "spiropentane": "C5H8", "thiophene": "C4H4S",
    "trimethylamine": "C3H9N", "water": "H2O",
}  # fmt: skip


@dataclass(frozen=True)
class NamedStructure:
    """A structure and where it came from."""

    name: str  # safe as the name of a folder
    atoms: ase.Atoms  # Å; info may hold "name", "charge" (e) and "multiplicity"
    source: str  # one sentence


def resolve_structure(text: str) -> NamedStructure:
    """Find the structure that ``text`` means: an existing file, a molecule's name or formula, or a SMILES string.

    Names and formulas are those of ASE's G2 set (``ethanol``, ``CH3CH2OH``), and come before SMILES: ``CO`` is carbon
    monoxide, ``smiles:CO`` is methanol. Of a file with several structures the last is taken, the end of an optimisation
    or trajectory.

    Raises:
        InputError: the file is missing, empty or unreadable; the name is unknown; the SMILES is invalid; or RDKit would
            be needed and is not installed.
    """
    wanted = text.strip()
    if not wanted:
        raise InputError("no structure is given; name a molecule, a file or a SMILES string")
    if wanted.lower().startswith(SMILES_PREFIX):
        return _from_smiles(wanted[len(SMILES_PREFIX) :].strip())
    path = Path(wanted).expanduser()
    if path.is_file():
        return _from_file(path)
    known = wanted if wanted in g2.names else ALIASES.get(" ".join(wanted.lower().split()))
    if known is not None:
        return _from_g2(wanted, known)
    if _is_surely_a_path(wanted):
        problem = "is a folder; name a file in it" if path.is_dir() else "does not exist; check the path"
        raise InputError(problem, file=wanted)
    return _from_smiles(wanted)


def known_names() -> list[str]:
    """Every name that needs neither a file nor RDKit, in alphabetical order."""
    return sorted([*ALIASES, *g2.names])


def _from_file(path: Path) -> NamedStructure:
    try:
        frames: Any = ase.io.read(path, index=":", do_not_split_by_at_sign=True)
    except Exception as error:  # ASE's readers raise whatever their parsing runs into
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(
            f"cannot be read as a structure ({reason[0]}); check the file and its format", file=str(path)
        ) from None
    if not frames:
        raise InputError("holds no structure; check the file", file=str(path))
    atoms = frames[-1]
    try:
        AtomicSystem.from_ase(atoms)
    except InputError as error:
        raise error.at(file=str(path), structure=len(frames) - 1) from None
    kept = _plain(atoms, _safe(path.stem))
    place = f", the last of its {len(frames)} structures" if len(frames) > 1 else ""
    return NamedStructure(kept.info["name"], kept, f"Read from {path}{place}.")


def _from_g2(wanted: str, name: str) -> NamedStructure:
    atoms = molecule(name)
    unpaired = round(float(atoms.get_initial_magnetic_moments().sum()))
    kept = _plain(atoms, _safe(wanted))
    if unpaired:
        kept.info["multiplicity"] = unpaired + 1
    note = ""
    if wanted == name and re.fullmatch(r"(B|C|N|O|P|S|F|Cl)+", name):
        note = f" For the SMILES string of the same letters write {SMILES_PREFIX}{name}."
    source = f"Molecule {name} of the G2 set (MP2 geometry, shipped with ASE).{note}"
    return NamedStructure(kept.info["name"], kept, source)


def _from_smiles(smiles: str) -> NamedStructure:
    try:
        from rdkit import Chem, rdBase
    except ImportError:
        raise InputError(
            f"'{smiles}' is neither a file nor a known molecule ({_suggestion(smiles)}); to read it as SMILES, install "
            "RDKit: pip install 'atomlens[rdkit]'"
        ) from None
    with rdBase.BlockLogs():  # RDKit writes its own complaints to standard error
        parsed = Chem.MolFromSmiles(smiles) if smiles else None
        if parsed is None or parsed.GetNumAtoms() == 0:
            raise _unknown(smiles)
        if len(Chem.GetMolFrags(parsed)) > 1:
            raise InputError(f"the SMILES '{smiles}' has separate molecules; give one, or a file with their positions")
        atoms, refined = _embed(parsed, smiles)
        charge = Chem.GetFormalCharge(parsed)
        unpaired = sum(atom.GetNumRadicalElectrons() for atom in parsed.GetAtoms())
        canonical = Chem.MolToSmiles(parsed)
    kept = _plain(atoms, _safe(smiles, canonical))
    if charge:
        kept.info["charge"] = charge
    if unpaired:
        kept.info["multiplicity"] = unpaired + 1  # the radical electrons of the SMILES, spins parallel
    return NamedStructure(kept.info["name"], kept, f"SMILES {smiles}, embedded by RDKit and {refined}.")


def _embed(parsed: Any, smiles: str) -> tuple[ase.Atoms, str]:
    from rdkit import Chem
    from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

    whole = Chem.AddHs(parsed)
    # Random starting coordinates succeed for some cages and macrocycles.
    tries = (rdDistGeom.EmbedMolecule(whole, randomSeed=EMBEDDING_SEED, useRandomCoords=how) for how in (False, True))
    if all(found < 0 for found in tries):
        raise InputError(f"RDKit finds no geometry for the SMILES '{smiles}'; give a file with positions")
    refined = "not refined (no force field knows its atoms)"
    if rdForceFieldHelpers.MMFFHasAllMoleculeParams(whole):
        rdForceFieldHelpers.MMFFOptimizeMolecule(whole, maxIters=2000)
        refined = "refined with MMFF94"
    elif rdForceFieldHelpers.UFFHasAllMoleculeParams(whole):
        rdForceFieldHelpers.UFFOptimizeMolecule(whole, maxIters=2000)
        refined = "refined with UFF"
    numbers = [atom.GetAtomicNum() for atom in whole.GetAtoms()]
    return ase.Atoms(numbers=numbers, positions=whole.GetConformer().GetPositions()), refined


def _unknown(text: str) -> InputError:
    if "/" in text or "\\" in text:  # a path or a double bond's geometry in SMILES
        return InputError("is no file, and no valid SMILES either; check the path", file=text)
    if not text:
        return InputError("the SMILES string is empty; write it behind the colon")
    return InputError(
        f"'{text}' is no file, no valid SMILES and no known molecule ({_suggestion(text)}); give one of these"
    )


def _suggestion(text: str) -> str:
    clause = nearest(text, known_names())
    return clause if clause.startswith("did you mean") else "ethanol and CH3CH2OH are such names"  # the list is long


def _is_surely_a_path(text: str) -> bool:
    suffixes = {f".{extension}" for entry in ioformats.values() for extension in entry.extensions}
    return text.startswith(("/", "./", "../", "~")) or text.endswith("/") or Path(text).suffix.lower() in suffixes


def _plain(atoms: ase.Atoms, name: str) -> ase.Atoms:
    """Numbers, positions, cell, periodicity, charge and multiplicity; calculators and other arrays are left behind."""
    kept = ase.Atoms(numbers=atoms.numbers, positions=np.array(atoms.positions), cell=atoms.cell, pbc=atoms.pbc)
    kept.info.update({key: atoms.info[key] for key in ("charge", "multiplicity") if key in atoms.info})
    kept.info["name"] = name
    return kept


def _safe(text: str, meaning: str | None = None) -> str:
    """``text`` as the name of a folder; where letters had to go, a hash of the ``meaning`` keeps names apart."""
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:48]
    if meaning is not None and slug != text:
        slug = f"{slug}-{hashlib.sha256(meaning.encode()).hexdigest()[:6]}".strip("-")
    return slug or "structure"
