import json
import sys
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
import torch
from ase.build import bulk, molecule
from matplotlib.colors import to_rgb
from matplotlib.patches import Polygon

from atomlens.data.dataset import Dataset
from atomlens.data.system import AtomicSystem
from atomlens.data.units import KCAL_PER_MOL
from atomlens.errors import InputError
from atomlens.explain import atom_contributions
from atomlens.explain.rings.ring_perception import connectivity, find_rings, sketch, smiles
from atomlens.explain.rings.rings import ANALYSIS, ring_energies, separation
from atomlens.explain.subject import ExplainConfig, NamedModel, Subject
from atomlens.figures import rings as drawing
from atomlens.figures.rings import Entry, Sketch
from atomlens.model import Model, ModelConfig

matplotlib.use("Agg")
chem = pytest.importorskip("rdkit.Chem", reason="rings need the extra atomlens[rdkit]")

CUBANE = "C12C3C4C1C5C2C3C45"
FREE = {1: -13.6, 6: -1030.0, 7: -1486.0, 8: -2043.0, 9: -2714.0}


def system(name):
    return AtomicSystem.from_ase(molecule(name))


def from_smiles(text):
    """A geometry from RDKit, with the charge of the SMILES."""
    from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

    whole = chem.AddHs(chem.MolFromSmiles(text))
    assert rdDistGeom.EmbedMolecule(whole, randomSeed=7) == 0
    rdForceFieldHelpers.MMFFOptimizeMolecule(whole, maxIters=2000)
    numbers = np.array([atom.GetAtomicNum() for atom in whole.GetAtoms()])
    positions = np.array(whole.GetConformer().GetPositions())
    return AtomicSystem(numbers, positions, np.zeros((3, 3)), np.zeros(3, bool), float(chem.GetFormalCharge(whole)))


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("CH3CH2OH", []),
        ("C3H8", []),
        ("C6H6", ["aromatic C6"]),
        ("C5H5N", ["aromatic C5N"]),
        ("C4H4O", ["aromatic C4O"]),
        ("C4H4S", ["aromatic C4S"]),
        ("C3H6_D3h", ["C3"]),
        ("CH2OCH2", ["C2O"]),
        ("cyclobutane", ["C4"]),
        ("cyclobutene", ["C4"]),
        ("bicyclobutane", ["C3", "C3"]),
        ("C5H8", ["C3", "C3"]),  # spiropentane
    ],
)
def test_rings_of_measured_geometries(name, kinds):
    assert [ring.kind for ring in find_rings(system(name))] == kinds


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("c1ccc2ccccc2c1", ["aromatic C6", "aromatic C6"]),
        ("C1CC2CCC1C2", ["C5", "C5"]),  # norbornane
        (CUBANE, ["C4"] * 6),  # every face, though five would do
        ("C1CCCCC1", ["C6"]),
        ("O=C1C=CC(=O)C=C1", ["C6"]),  # flat, and not aromatic
        ("c1ccc2occc2c1", ["aromatic C4O", "aromatic C6"]),
        ("O=[N+]([O-])c1ccccc1", ["aromatic C6"]),
        ("c1cc[nH+]cc1", ["aromatic C5N"]),
        ("C[N+](C)(C)C", []),
        ("c1nnn[n-]1", ["aromatic CN4"]),
    ],
)
def test_rings_of_smiles(text, kinds):
    made = from_smiles(text)
    found = find_rings(made)
    assert sorted(ring.kind for ring in found) == kinds
    assert smiles(made) == chem.MolToSmiles(chem.MolFromSmiles(text))


def test_rings_go_round_and_know_what_is_beside_them():
    made = from_smiles("Nc1ccccc1O")
    (ring,) = find_rings(made)
    bonded = {tuple(pair) for pair in connectivity(made.numbers, made.positions).tolist()}
    assert all(tuple(sorted(pair)) in bonded for pair in zip(ring.atoms, np.roll(ring.atoms, 1).tolist(), strict=True))
    assert (ring.size, ring.beside) == (6, ("N", "O"))
    assert [find_rings(system("C6H6"))[0].beside, find_rings(from_smiles("CC1CC1(F)F"))[0].beside] == [
        (),
        ("C", "F", "F"),
    ]


@pytest.mark.parametrize(("apart", "bonded"), [(1.25, True), (1.70, True), (1.78, False), (1.87, False)])
def test_carbons_across_a_bridge_are_not_bonded(apart, bonded):
    found = connectivity(np.array([6, 6]), np.array([[0.0, 0.0, 0.0], [apart, 0.0, 0.0]]))
    assert found.tolist() == ([[0, 1]] if bonded else [])


def test_odd_molecules_keep_their_rings():
    """Six carbons alone have no consistent bond orders, and a ring all the same."""
    angles = np.arange(6) * np.pi / 3
    bare = AtomicSystem(
        np.array([6] * 6 + [1] * 24),
        np.concatenate(
            [1.4 * np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1)]
            + [
                1.4 * np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1) + shift
                for shift in ([0, 0, 1.1], [0, 0, -1.1], [0.3, 0.3, 1.05], [0.3, 0.3, -1.05])
            ]
        ),
        np.zeros((3, 3)),
        np.zeros(3, bool),
    )
    (ring,) = find_rings(bare)
    assert ring.aromatic is None
    assert ring.kind == "C6"
    assert smiles(bare) == ""
    drawn, _ = sketch(bare)
    assert [order for _, _, order in drawn.bonds] == [1] * 6


def test_large_cages_take_no_search_without_end():
    rings = find_rings(system("C60"))
    assert sorted({ring.size for ring in rings}) == [5, 6]
    assert len(rings) == 32


def test_rings_of_real_molecules_are_as_many_as_cycles(shared_data):
    """At least bonds - atoms + 1 of a connected molecule, and bond orders throughout."""
    from atomlens.data.readers import read_dataset

    data = read_dataset(shared_data / "qm9.npz", {})
    for row in np.linspace(0, len(data) - 1, 300).astype(int):
        found = data[int(row)]
        heavy = found.numbers > 1
        bonds = connectivity(found.numbers[heavy], found.positions[heavy])
        rings = find_rings(found)
        assert len(rings) >= len(bonds) - heavy.sum() + 1
        assert bool(rings) == (len(bonds) >= heavy.sum())
        assert all(ring.aromatic is not None for ring in rings)


class TestRefused:
    def test_crystals(self):
        with pytest.raises(InputError, match="rings are not looked for under periodic boundaries"):
            find_rings(AtomicSystem.from_ase(bulk("C")))

    def test_crystals_among_molecules_are_named(self, model):
        with pytest.raises(InputError, match="structure 1"):
            ring_energies(model, [molecule("C6H6"), bulk("C")])

    def test_without_rdkit(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "rdkit", None)
        for function in (find_rings, sketch, smiles):
            with pytest.raises(InputError, match=r"pip install 'atomlens\[rdkit\]'"):
                function(system("C6H6"))

    def test_terms_of_other_properties(self):
        charges = Model(ModelConfig.parse({"readouts": [{"name": "dipole"}]}), sorted(FREE))
        parts = atom_contributions(charges, [molecule("C6H6")], "dipole")
        with pytest.raises(InputError, match="these are terms of the dipole"):
            ring_energies(parts, [molecule("C6H6")])

    def test_contributions_of_other_molecules(self, model):
        parts = atom_contributions(model, [molecule("C6H6")])
        with pytest.raises(InputError, match="contributions are of other structures"):
            ring_energies(parts, [molecule("C5H5N")])


def made(seed=0, scale=1.0, config=None):
    torch.manual_seed(seed)
    model = Model(config or ModelConfig(), sorted(FREE)).set_precision(torch.float64)
    model.energy_readout.set_scale(scale, {number: value - 3.0 for number, value in FREE.items()}, FREE)
    return model


@pytest.fixture(scope="module")
def model():
    return made()


def test_a_ring_has_the_sum_of_its_atoms_terms(model):
    names = ["CH3CH2OH", "C6H6", "bicyclobutane", "C5H5N"]
    frames = [molecule(name) for name in names]
    found = ring_energies(model, frames)
    parts = atom_contributions(model, frames).per_structure
    assert found.structures.tolist() == [1, 2, 2, 3]
    for ring, place, value in zip(found.rings, found.structures, found.values, strict=True):
        assert value == parts[place][list(ring.atoms)].sum()
    assert found.relative_to == "free atoms"
    # Measured from free atoms, benzene's ring is short of the energy of its hydrogens alone.
    total = float(model.predict(molecule("C6H6"))["energy"]) - 6 * FREE[6] - 6 * FREE[1]
    assert found.values[0] == pytest.approx(total - parts[1][6:].sum(), abs=1e-9)
    plain = ring_energies(model, frames, relative_to="nothing")
    assert plain.values[0] - found.values[0] == pytest.approx(6 * FREE[6], abs=1e-6)
    again = ring_energies(atom_contributions(model, frames), frames)
    np.testing.assert_array_equal(again.values, found.values)
    assert len(ring_energies(model, molecule("C6H6")).rings) == 1
    assert not ring_energies(model, [molecule("CH4")]).rings


def planted(energies, model):
    """Benzenes, pyridines and cyclohexanes in turn, whose atoms have a sixth of the planted energy each."""
    systems = [(system("C6H6"), system("C5H5N"), from_smiles("C1CCCCC1"))[k % 3] for k in range(len(energies))]
    values = np.concatenate([np.full(len(s.numbers), e / 6) for s, e in zip(systems, energies, strict=True)])
    return ring_energies(replace(atom_contributions(model, systems), values=values), systems)


def test_ranking_of_planted_energies(model):
    energies = np.array([3.0, -7.0, 5.0, -1.0, -9.0, 2.0, -4.0, 0.0, 8.0])
    found = planted(energies, model)
    np.testing.assert_allclose(found.values, energies, atol=1e-12)
    assert found.ranking("C6").tolist() == [6, 3, 5, 0, 2, 8]
    assert found.ranking("C6", aromatic=True).tolist() == [6, 3, 0]
    assert found.ranking("C6", aromatic=False).tolist() == [5, 2, 8]
    assert found.ranking("C5N").tolist() == [4, 1, 7]
    assert found.ranking("C7").size == 0
    assert {name: rows.tolist() for name, rows in found.kinds.items()} == {
        "aromatic C6": [0, 3, 6],
        "aromatic C5N": [1, 4, 7],
        "C6": [2, 5, 8],
    }
    np.testing.assert_allclose(found.deviations[[2, 5, 8]], np.array([5.0, 2.0, 8.0]) - 5.0, atol=1e-12)
    facts = found.to_dict()
    assert facts["kinds"]["aromatic C5N"] == pytest.approx(
        {"count": 3, "mean": -16 / 3, "std": np.std([-7.0, -9.0, 0.0]), "lowest": -9.0, "highest": 0.0}
    )
    assert json.dumps(facts, allow_nan=False)
    assert "C6 (3)" in [label.get_text() for label in found.plot().axes[0].get_yticklabels()]


def test_separation_counts_pairs():
    rng = np.random.default_rng(0)
    values, flags = rng.integers(0, 6, 40).astype(float), rng.random(40) < 0.4
    pairs = [(a < b) + 0.5 * (a == b) for a in values[flags] for b in values[~flags]]
    assert separation(values, flags) == pytest.approx(np.mean(pairs))
    assert separation(np.array([1.0, 2.0]), np.array([True, False])) == 1.0
    with pytest.raises(InputError, match="both kinds"):
        separation(values, np.ones(40, bool))


class TestSketch:
    def test_benzene_has_three_double_bonds_on_a_regular_hexagon(self):
        drawn, place = sketch(system("C6H6"))
        assert sorted(order for _, _, order in drawn.bonds) == [1, 1, 1, 2, 2, 2]
        lengths = [np.linalg.norm(drawn.points[a] - drawn.points[b]) for a, b, _ in drawn.bonds]
        np.testing.assert_allclose(lengths, 1.5, rtol=0.01)
        assert set(drawn.labels) == {("", "", "")}
        assert list(place) == list(range(6))
        assert sorted(drawn.rings[0]) == list(range(6))

    @pytest.mark.parametrize(
        ("text", "labels"),
        [
            ("Oc1ccccc1", [("O", "H", "")]),
            ("Nc1ccccc1", [("N", "H₂", "")]),
            ("c1ccncc1", [("N", "", "")]),
            ("O=[N+]([O-])C1CC1", [("N", "", "⁺"), ("O", "", ""), ("O", "", "⁻")]),
            ("C1CC1F", [("F", "", "")]),
            ("C", [("C", "H₄", "")]),
            ("CC", []),
        ],
    )
    def test_letters_stand_on_all_but_plain_carbon(self, text, labels):
        drawn, _ = sketch(from_smiles(text))
        assert sorted(label for label in drawn.labels if label[0]) == labels

    def test_triple_bonds_are_drawn_straight(self):
        drawn, _ = sketch(from_smiles("C#Cc1ccccc1"))
        (triple,) = [bond for bond in drawn.bonds if bond[2] == 3]
        other = next(bond for bond in drawn.bonds if bond[2] == 1 and set(bond[:2]) & set(triple[:2]))
        first, second = (drawn.points[bond[1]] - drawn.points[bond[0]] for bond in (triple, other))
        assert abs(first @ second) == pytest.approx(1.5**2, rel=0.01)

    def test_no_atom_hides_another(self):
        for text in (CUBANE, "C1CC2CCC1C2", "Cc1cccc(C)c1N"):
            points = sketch(from_smiles(text))[0].points
            apart = np.linalg.norm(points[:, None] - points[None], axis=-1) + np.eye(len(points)) * 9
            assert apart.min() > 0.3


def entry(name, deviation):
    made = system(name)
    drawn, place = sketch(made)
    ring = find_rings(made)[0]
    return Entry(drawn, tuple(place[atom] for atom in ring.atoms), -30.0 + deviation, deviation)


def test_gallery_fills_the_ring_of_every_molecule_by_its_sign():
    entries = [entry(name, value) for name, value in (("C6H6", -0.5), ("C5H5N", -0.1), ("C4H4O", 0.4))]
    figure = drawing.gallery({"Most stable": entries[:2], "Least stable": entries[2:]}, "ring energy")
    axes = figure.axes[0]
    fills = [patch for patch in axes.patches if isinstance(patch, Polygon)]
    assert [len(fill.get_xy()) - 1 for fill in fills] == [6, 6, 5]
    for fill, each in zip(fills, entries, strict=True):
        corners = fill.get_xy()[:-1]
        own = each.sketch.points[list(each.ring)]
        np.testing.assert_allclose(corners - corners.mean(axis=0), own - own.mean(axis=0), atol=1e-9)
    red, _, blue = zip(*(to_rgb(fill.get_facecolor()) for fill in fills), strict=True)
    assert [r < b for r, b in zip(red, blue, strict=True)] == [True, True, False]
    words = [text.get_text() for text in axes.texts]
    expected = [f"−{abs(each.value) / KCAL_PER_MOL:.1f}" for each in entries]
    assert all(word in words for word in ["Most stable", "Least stable", "N", "O", *expected])
    pixels = drawn_pixels(figure)
    for fill in fills:
        shown = np.array(to_rgb(fill.get_facecolor())) * 255
        assert (np.abs(pixels - shown).max(axis=-1) < 2).sum() > 200


def drawn_pixels(figure):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].astype(float)


def test_molecules_lie_apart_in_a_gallery():
    figure = drawing.gallery({"all": [entry("C6H6", 0.1)] * 6}, "ring energy")
    middles = np.array([patch.get_xy()[:-1].mean(axis=0) for patch in figure.axes[0].patches])
    apart = np.linalg.norm(middles[:, None] - middles[None], axis=-1) + np.eye(6) * 99
    assert apart.min() > 2 * 1.5 + 0.5


def test_rings_of_one_molecule_are_lettered():
    made = from_smiles("c1ccc2[nH]ccc2c1")
    drawn, place = sketch(made)
    rings = [tuple(place[atom] for atom in ring.atoms) for ring in find_rings(made)]
    figure = drawing.molecule_rings(drawn, rings, [-0.2, None], ["first", "second"], "deviation", 0.1)
    words = [text.get_text() for text in figure.axes[0].texts]
    assert {"A", "B", "N", "H"} <= set(words)
    assert figure.axes[0].get_title(loc="left") == "A  first\nB  second"
    grey = to_rgb(figure.axes[0].patches[1].get_facecolor())
    assert grey == pytest.approx(to_rgb("#dfe4e8"))
    alone = drawing.molecule_rings(drawn, rings[:1], [None], ["only"], "deviation")
    assert len(alone.axes) == 1
    assert alone.axes[0].get_title(loc="left") == "only"


def test_letters_of_a_cage_do_not_cover_each_other():
    made = from_smiles(CUBANE)
    drawn, place = sketch(made)
    rings = [tuple(place[atom] for atom in ring.atoms) for ring in find_rings(made)]
    figure = drawing.molecule_rings(drawn, rings, [0.1] * 6, ["ring"] * 6, "deviation")
    spots = np.array([text.get_position() for text in figure.axes[0].texts])
    words = [text.get_text() for text in figure.axes[0].texts]
    assert sorted("".join(words).replace(",", "")) == list("ABCDEF")
    apart = np.linalg.norm(spots[:, None] - spots[None], axis=-1) + np.eye(len(spots)) * 9
    assert apart.min() > 0.59
    assert drawing._lettered([np.zeros(2), np.ones(2), np.full(2, 0.1)])[0][1] == "A,C"


def test_double_bonds_lie_inside_their_ring():
    square = Sketch(np.array([[0.0, 0], [1.5, 0], [1.5, 1.5], [0, 1.5]]), [("", "", "")] * 4, [], [(0, 1, 2, 3)])
    first, second = drawing._lines(square, 0, 1, 2)
    np.testing.assert_allclose(first, [[0, 0], [1.5, 0]])
    assert (second[:, 1] > 0).all()
    assert np.linalg.norm(second[1] - second[0]) < 1.5
    labelled = replace(square, labels=[("O", "", "")] * 4, rings=[])
    ends = np.concatenate(drawing._lines(labelled, 0, 1, 2))
    assert ends[:, 0].min() > 0.3
    assert ends[:, 0].max() < 1.2
    assert len(drawing._lines(square, 0, 1, 3)) == 3


POOL = ["C6H6", "C5H5N", "C4H4O", "C3H6_D3h", "cyclobutane", "bicyclobutane", "CH3CH2OH"]
BENZENES = ["Oc1ccccc1", "Nc1ccccc1", "Cc1ccccc1", "C#Cc1ccccc1", "Fc1ccccc1", "c1ccc2occc2c1"]
CYCLOHEXANES = ["C1CCCCC1", "OC1CCCCC1", "CC1CCCCC1", "FC1CCCCC1", "C1CCC2CC2C1"]


@pytest.fixture(scope="module")
def systems():
    rng = np.random.default_rng(0)
    kept = [from_smiles(text) for text in BENZENES + CYCLOHEXANES] + [system(name) for name in POOL]
    return [
        replace(each, positions=each.positions + rng.normal(0, 0.02, each.positions.shape))
        for each in kept
        for _ in "ab"
    ]


def dataset(systems):
    return Dataset.from_arrays(
        np.concatenate([each.numbers for each in systems]),
        np.concatenate([each.positions for each in systems]),
        np.array([len(each.numbers) for each in systems]),
        {},
        cell=np.stack([each.cell for each in systems]),
        pbc=np.stack([each.pbc for each in systems]),
    )


def subject(models, systems, shown=()):
    named = tuple(NamedModel(name, model) for name, model in models.items())
    return Subject(
        named, tuple(shown), tuple(f"s{place}" for place in range(len(shown))), dataset(systems), ExplainConfig()
    )


@pytest.fixture(scope="module")
def models(model):
    dtnn = ModelConfig.parse({"representation": {"name": "dtnn", "gaussian_range": 8.0}})
    return {"one": model, "same": made(scale=2.0), "other": made(seed=1), "dtnn": made(seed=2, config=dtnn)}


@pytest.fixture(scope="module")
def ranking(models, systems):
    return ANALYSIS.of_models(subject(models, systems))


@pytest.fixture(scope="module")
def single(models, systems):
    return ANALYSIS.of_structure(subject(models, systems, [systems[10]]), 0)


class TestRanking:
    def test_ranks_six_membered_carbon_rings(self, ranking, model, systems):
        found = ring_energies(model, systems)
        main, aromatic = ranking.tables[:2]
        count = len(found.ranking("C6"))
        assert main.title == f"C6 rings: the 8 most and least stable of {count}"
        expected = found.values[found.ranking("C6")] / KCAL_PER_MOL
        assert [row[3] for row in main.rows] == pytest.approx(
            np.round(np.concatenate([expected[:8], expected[-8:]]), 1).tolist()
        )
        assert [row[0] for row in main.rows] == [*range(1, 9), *range(count - 7, count + 1)]
        assert aromatic.title.startswith("aromatic C6 rings: the 7 most and least stable of 14")
        assert set(ranking.figures) == {"ranking_C6", "ranking_aromatic_C6", "ring_kinds"}
        assert json.dumps(ranking.to_dict(), allow_nan=False)

    def test_says_what_the_ends_carry(self, ranking, model, systems):
        found = ring_energies(model, systems)
        rows = found.ranking("C6", aromatic=True)
        ends = [[found.rings[row].beside for row in part] for part in (rows[:7], rows[-7:])]
        differences = {name: abs(sum(name in b for b in ends[0]) - sum(name in b for b in ends[1])) for name in "CFNO"}
        told = next(name for name in "CFNO" if f"rings {name} is bonded to" in ranking.reading)
        assert differences[told] == max(differences.values())

    def test_a_scaled_model_ranks_alike_and_another_does_not(self, ranking, models, systems):
        from scipy.stats import kendalltau

        taus = ranking.facts["rankings"]["C6"]["kendall_tau"]
        assert taus["same"] == pytest.approx(1.0)
        rows = ring_energies(models["one"], systems).ranking("C6")
        values = [ring_energies(models[name], systems).values[rows] for name in ("one", "dtnn")]
        assert taus["dtnn"] == pytest.approx(kendalltau(*values).statistic)
        checks = {check.name: check for check in ranking.checks if "aromatic" not in check.what}
        assert checks["ranking kept by another training"].value == min(taus["same"], taus["other"])
        assert checks["ranking kept by another architecture"].value == taus["dtnn"]

    def test_aromatic_rings_are_told_from_others(self, ranking, model, systems):
        found = ring_energies(model, systems)
        rows = found.ranking("C6").tolist()
        flags = np.array([found.rings[row].aromatic for row in rows])
        (check,) = [check for check in ranking.checks if check.name == "aromatic rings are stable"]
        assert check.value == pytest.approx(separation(found.values[rows], flags))
        assert check.passed == (check.value > 0.9)

    def test_charts_count_every_ring(self, ranking):
        chart = ranking.views[0]
        counts = {series.name: series.y[::2].sum() for series in chart.series}
        assert counts == {"aromatic C6": 14, "C6, not aromatic": 10 + 0}

    def test_crystals_are_passed_over_and_refused_alone(self, model, systems):
        diamond = AtomicSystem.from_ase(bulk("C"))
        mixed = ANALYSIS.of_models(subject({"one": model}, [*systems[:14], diamond]))
        assert mixed.facts["molecules"] == 14
        with pytest.raises(InputError, match="not looked for under periodic boundaries"):
            ANALYSIS.of_models(subject({"one": model}, [diamond]))

    def test_other_rings_where_six_membered_ones_are_few(self, model):
        found = ANALYSIS.of_models(subject({"one": model}, [system("C5H5N"), system("bicyclobutane")]))
        assert "C3 rings (2)" in found.reading
        assert "One model" in found.trust

    def test_rings_that_are_all_alike_have_no_ranking_to_compare(self, model):
        panel = ANALYSIS.of_models(subject({"one": model, "other": made(seed=1)}, [system("C6H6")] * 20))
        assert panel.facts["rankings"]["C6"]["kendall_tau"] == {"other": None}
        assert json.dumps(panel.to_dict(), allow_nan=False)
        assert "ranking kept by another training" not in [check.name for check in panel.checks]
        assert "nan" not in panel.trust + panel.reading
        assert "too few rings of different energies to compare rankings" in panel.trust

    def test_a_molecule_at_fault_is_located_in_the_data(self, model, systems, monkeypatch):
        def refusing(each):
            if len(each.numbers) == len(systems[1].numbers):
                raise InputError("has a fault")
            return find_rings(each)

        monkeypatch.setattr("atomlens.explain.rings.rings.find_rings", refusing)
        diamonds = [AtomicSystem.from_ase(bulk("C"))] * 3
        with pytest.raises(InputError, match="structure 4: has a fault"):
            ANALYSIS.of_models(subject({"one": model}, [*diamonds, system("CH4"), systems[1]]))

    def test_a_missing_rdkit_is_no_fault_of_a_structure(self, model, systems, monkeypatch):
        monkeypatch.setitem(sys.modules, "rdkit", None)
        with pytest.raises(InputError, match="finding rings needs RDKit") as caught:
            ANALYSIS.of_models(subject({"one": model}, systems))
        assert caught.value.structure is None

    def test_data_without_rings(self, model):
        with pytest.raises(InputError, match="no molecule of the data has a ring"):
            ANALYSIS.of_models(subject({"one": model}, [system("CH4"), system("C2H6")]))

    def test_models_without_energies(self, systems):
        charges = Model(ModelConfig.parse({"readouts": [{"name": "dipole"}]}), sorted(FREE))
        with pytest.raises(InputError, match="no model here predicts energy"):
            ANALYSIS.of_models(subject({"charges": charges}, systems))

    def test_long_data_are_thinned(self, model, systems, monkeypatch):
        monkeypatch.setattr("atomlens.explain.rings.data_rings.MOLECULES", 9)
        found = ANALYSIS.of_models(subject({"one": model}, systems))
        assert found.facts["molecules"] == 9
        assert f"9 of the data's {len(systems)} molecules" in found.trust


class TestOfOneMolecule:
    def test_ranks_its_rings_among_those_of_their_kind(self, single, model, systems):
        data, own = ring_energies(model, systems), ring_energies(model, systems[10])
        rings = {entry["kind"]: entry for entry in single.facts["rings"]}
        for ring, value in zip(own.rings, own.values, strict=True):
            found, others = rings[ring.kind], data.values[data.kinds[ring.kind]]
            assert found["energy"] == pytest.approx(value, abs=1e-9)
            assert found["of_its_kind_in_data"] == len(others)
            if len(others) < 5:
                assert found["deviation"] is None is found["rank"]
            else:
                assert found["deviation"] == pytest.approx(value - others.mean(), abs=1e-9)
                assert found["rank"] == 1 + (others < value - 1e-6).sum()
        assert set(rings) == {"aromatic C6", "aromatic C4O"}
        assert json.dumps(single.to_dict(), allow_nan=False)
        assert single.structure == 0
        assert "aromatic C6 ring among 14 by model" in single.trust

    def test_other_models_may_disagree(self, model, systems):
        shown = [systems[0]]
        same = ANALYSIS.of_structure(subject({"a": model, "b": model}, systems, shown), 0)
        (check,) = same.checks
        assert check.value == 0.0
        assert check.passed
        far = ANALYSIS.of_structure(subject({"a": model, "b": made(seed=4, scale=30.0)}, systems, shown), 0)
        assert not far.checks[0].passed

    def test_figure_and_chart_show_this_molecule(self, single):
        figure = single.figures["rings"]
        assert len([patch for patch in figure.axes[0].patches if isinstance(patch, Polygon)]) == 2
        (chart,) = single.views
        data, own = chart.series
        assert len(data.x) == 14
        ring = next(entry for entry in single.facts["rings"] if entry["kind"] == "aromatic C6")
        assert own.x.tolist() == pytest.approx([ring["energy"] / KCAL_PER_MOL])

    def test_molecules_without_rings(self, models, systems):
        with pytest.raises(InputError, match="this molecule has no ring"):
            ANALYSIS.of_structure(subject(models, systems, [system("CH4")]), 0)

    def test_crystals(self, models, systems):
        with pytest.raises(InputError, match="not looked for under periodic boundaries"):
            ANALYSIS.of_structure(subject(models, systems, [AtomicSystem.from_ase(bulk("C"))]), 0)

    def test_rings_that_the_data_lack(self, model, systems):
        found = ANALYSIS.of_structure(subject({"a": model}, systems, [from_smiles("C1CCCCCC1")]), 0)
        assert "fewer than 5 rings of the kind (C7)" in found.reading
        assert not found.views

    def test_rings_of_the_data_are_found_once(self, model, systems, monkeypatch):
        both = subject({"a": model}, systems, [systems[0], systems[2]])
        ANALYSIS.of_structure(both, 0)
        monkeypatch.setattr("atomlens.explain.rings.data_rings.perceive", None)
        assert ANALYSIS.of_structure(both, 1).facts["rings"]
