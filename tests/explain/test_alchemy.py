import json

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from scipy.spatial.transform import Rotation

from atomlens.data.dataset import Dataset
from atomlens.data.readers import LabelSource, read_dataset
from atomlens.data.system import AtomicSystem
from atomlens.errors import InputError
from atomlens.explain.alchemy import alchemy
from atomlens.explain.alchemy.alchemical_path import alchemical_path
from atomlens.explain.alchemy.azine_chain import azine_chain
from atomlens.explain.alchemy.azines import AZINES, azine, occupied, shared_sites, site_positions
from atomlens.explain.subject import ExplainConfig, NamedModel, Subject
from atomlens.figures.alchemy import Curve
from atomlens.figures.alchemy import alchemical_path as draw
from atomlens.model import Model, ModelConfig

REFERENCES = {1: -13.6, 6: -1030.0, 7: -1485.0}
FREE = {1: -13.0, 6: -1029.0, 7: -1484.0}
CONFIGS = {
    "schnet": {"representation": {"name": "schnet", "features": 8}},
    "schnet mean": {"representation": {"name": "schnet", "features": 8, "aggregation": "mean"}},
    "dtnn": {"representation": {"name": "dtnn", "features": 8, "factors": 12}},
    "per element": {
        "representation": {"name": "schnet", "features": 8},
        "readouts": [{"name": "energy", "networks": "per_element"}],
    },
}


def build(config, seed=0, free=None):
    torch.manual_seed(seed)
    model = Model(ModelConfig(**config), [1, 6, 7]).set_precision(torch.float64)
    model.energy_readout.set_scale(3.0, REFERENCES, free)
    return model


@pytest.fixture(scope="module", params=CONFIGS)
def model(request):
    return build(CONFIGS[request.param])


@pytest.fixture(scope="module")
def dtnn():
    return build(CONFIGS["dtnn"])


def bent(atoms, seed=0):
    """The molecule with every atom moved a little, turned and moved as a whole."""
    rng = np.random.default_rng(seed)
    atoms = atoms.copy()
    atoms.positions += rng.normal(scale=0.05, size=atoms.positions.shape)
    turned = Rotation.random(rng=rng).apply(atoms.positions) + rng.normal(size=3)
    atoms.positions = turned
    return atoms


# Methylamine to methanimine: carbon and nitrogen exchange places, three hydrogens leave and another one comes.
START = molecule("H3CNH2")
END = bent(Atoms("NCHHH", [[0.1, 0, 0.6], [0.1, 0, -0.6], [-0.9, 0, 1.0], [0.9, 0, -1.2], [-0.8, 0, -1.3]]))
MAPPING = [(0, 0), (1, 1), (2, 2), (3, 3)]


def plain(model, atoms):
    return float(model.predict(atoms, forces=False)["energy"])


@pytest.mark.parametrize("geometry", ["fixed", "interpolated"])
def test_both_ends_are_the_plain_molecules(model, geometry):
    path = alchemical_path(model, START, END, MAPPING, geometry=geometry, relative_to="nothing", steps=5)
    assert path.energy[0] == pytest.approx(plain(model, START), abs=1e-9)
    assert path.atom_energies.sum(axis=1) == pytest.approx(path.energy, abs=1e-9)
    if geometry == "interpolated":
        assert path.energy[-1] == pytest.approx(plain(model, END), abs=1e-9)
    else:
        there = path.numbers[1] > 0
        moved = Atoms(path.numbers[1][there], path.positions[-1][there])
        assert path.energy[-1] == pytest.approx(plain(model, moved), abs=1e-9)
        assert (path.positions == path.positions[0]).all()
    assert path.end_error < 1e-9
    assert np.abs(path.bow).max() > 1e-3  # there is something between the ends
    assert path.alpha.tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert path.numbers.tolist() == [[6, 7, 1, 1, 1, 1, 1, 0], [7, 6, 1, 1, 0, 0, 0, 1]]
    assert path.weights[1].tolist() == [1, 1, 1, 1, 0.75, 0.75, 0.75, 0.25]


def test_single_precision_holds_the_ends_as_well():
    model = build(CONFIGS["schnet"]).set_precision(torch.float32)
    path = alchemical_path(model, START, END, MAPPING)
    assert path.end_error < 1e-5  # a few roundings of terms of some eV


def test_an_atom_that_has_faded_is_not_there(model):
    """Methylamine without one hydrogen, whose place the path knows and the molecule does not."""
    rest = START[[0, 1, 2, 3, 4, 5]]
    path = alchemical_path(model, START, rest, [(atom, atom) for atom in range(6)], relative_to="nothing", steps=3)
    alone = model.predict(rest, forces=False)
    assert path.atom_energies[-1, :6] == pytest.approx(alone["atom_energies"], abs=1e-9)
    assert path.atom_energies[-1, 6] == 0.0
    with_all = model.predict(START, forces=False)["atom_energies"]
    assert path.atom_energies[0] == pytest.approx(with_all, abs=1e-9)


def test_between_the_ends_it_is_the_written_formula(dtnn):
    """Thesis eq. 3.14 and 3.15, atom by atom, at α = 1/4 of a path that mixes and fades in both directions."""
    model = dtnn.set_exact_filters()
    path = alchemical_path(model, START, END, MAPPING, geometry="interpolated", relative_to="nothing", steps=5)
    net, readout = model.representation, model.energy_readout
    with torch.no_grad():
        table = net.embedding.weight
        mixed = [[6, 7], [7, 6]] + 6 * [[1, 1]]
        x = torch.stack([0.25 * table[end] + 0.75 * table[start] for start, end in mixed])
        beta = [1.0, 1.0, 1.0, 1.0, 0.75, 0.75, 0.75, 0.25]
        positions = torch.from_numpy(path.positions[1])
        for _ in range(net.config.interactions):
            heard = net.atom_factors(x)
            new = x.clone()
            for i in range(8):
                for j in range(8):
                    if i != j:
                        factors = net.filters((positions[i] - positions[j]).norm()[None])[0, 0]
                        new[i] += beta[j] * torch.tanh(net.to_features.weight @ (heard[j] * factors))
            x = new
        hidden = torch.nn.functional.softplus(readout.network.layers[0](x)) - np.log(2.0)
        terms = 3.0 * readout.network.layers[1](hidden)[:, 0].numpy()
    known = [0.25 * REFERENCES[end] + 0.75 * REFERENCES[start] for start, end in mixed]
    expected = np.array(beta) * (terms + np.array(known))
    dtnn.set_exact_filters(False)
    assert path.atom_energies[1] == pytest.approx(expected, abs=1e-9)


def test_a_network_that_is_linear_in_the_features_gives_a_straight_line():
    config = {"representation": {"name": "schnet", "features": 8, "interactions": 0}}
    model = build(config | {"readouts": [{"name": "energy", "hidden": []}]})
    path = alchemical_path(model, START, END, MAPPING, geometry="interpolated", relative_to="nothing", slopes=True)
    assert np.abs(path.bow).max() < 1e-9
    assert abs(path.energy[-1] - path.energy[0]) > 1.0
    assert path.slope == pytest.approx(np.full(21, path.energy[-1] - path.energy[0]), abs=1e-8)


def test_the_way_back_is_the_mirror_image(model):
    there = alchemical_path(model, START, END, MAPPING, geometry="interpolated", steps=6)
    back = alchemical_path(model, END, START, [(b, a) for a, b in MAPPING], geometry="interpolated", steps=6)
    assert back.energy[::-1] == pytest.approx(there.energy, abs=1e-8)
    # One molecule with itself is no path at all.
    still = alchemical_path(model, START, bent(START), [(a, a) for a in range(7)], steps=6)
    assert np.ptp(still.energy) < 1e-9


def test_slopes_are_those_of_central_differences(model):
    errors, widths = [], []
    for steps in (9, 17, 33, 65):
        path = alchemical_path(model, START, END, MAPPING, geometry="interpolated", steps=steps, slopes=True)
        middle, width = steps // 2, 1.0 / (steps - 1)
        difference = (path.energy[middle + 1] - path.energy[middle - 1]) / (2.0 * width)
        errors.append(abs(difference - path.slope[middle]))
        widths.append(width)
    order = np.polyfit(np.log(widths), np.log(errors), 1)[0]
    assert order == pytest.approx(2.0, abs=0.2)
    assert errors[-1] < 1e-2 * abs(path.slope[32])
    assert path.integrated == pytest.approx(path.energy[-1] - path.energy[0], abs=1e-4 * np.abs(path.slope).max())


@pytest.mark.parametrize("switched_off", [torch.no_grad, torch.inference_mode])
def test_slopes_where_gradients_are_switched_off(dtnn, switched_off):
    with switched_off():
        inside = alchemical_path(dtnn, START, END, MAPPING, steps=4, slopes=True)
        assert alchemical_path(dtnn, START, END, MAPPING, steps=4).energy == pytest.approx(inside.energy, abs=1e-9)
    np.testing.assert_array_equal(inside.slope, alchemical_path(dtnn, START, END, MAPPING, steps=4, slopes=True).slope)


def test_where_the_end_lies_does_not_matter_but_its_handedness_does(dtnn):
    ends = [bent(END, seed) for seed in (1, 1)]
    ends[1].positions = Rotation.from_rotvec([1.0, 2.0, 0.5]).apply(ends[1].positions) + 7.0
    first, second = (alchemical_path(dtnn, START, end, MAPPING, geometry="interpolated") for end in ends)
    assert second.energy == pytest.approx(first.energy, abs=1e-9)
    assert second.positions == pytest.approx(first.positions, abs=1e-9)
    # Five corners without a mirror plane: a chiral molecule.
    corners = np.array([[0, 0, 0], [1, 1, 1], [1.2, -1, -1], [-1, 0.9, -1], [-1, -1, 1.3]])
    chiral, image = (Atoms("CNCHH", corners * [1, 1, sign]) for sign in (1, -1))
    itself, other = (
        alchemical_path(dtnn, chiral, each, [(a, a) for a in range(5)], geometry="interpolated")
        for each in (chiral, image)
    )
    assert np.abs(itself.positions[-1] - chiral.positions).max() < 1e-12
    assert np.abs(other.positions[-1] - chiral.positions).max() > 0.3


def test_the_baseline_is_mixed_as_well():
    model = build(CONFIGS["schnet"], free=FREE)
    raw, learned, bound = (
        alchemical_path(model, START, END, MAPPING, steps=3, relative_to=each)
        for each in ("nothing", "references", None)
    )
    assert bound.relative_to == "free atoms"
    ends = [sum(FREE[number] for number in each.numbers) for each in (START, END)]
    line = np.array([ends[0], np.mean(ends), ends[1]])
    assert raw.energy - bound.energy == pytest.approx(line, abs=1e-8)
    assert raw.bow == pytest.approx(learned.bow, abs=1e-8)
    assert bound.plain == pytest.approx([plain(model, START) - ends[0], bound.energy[-1]], abs=1e-8)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mapping": []}, "empty"),
        ({"mapping": [(0, 0), (0, 1)]}, "atom 0 of the start twice"),
        ({"mapping": [(0, 1), (1, 1)]}, "atom 1 of the end twice"),
        ({"mapping": [(0, 5)]}, "atom 5 of the end, whose last one is 4"),
        ({"mapping": [(-1, 0)]}, "atom -1 of the start"),
        ({"mapping": [(0, 1, 2)]}, "no list of pairs"),
        ({"mapping": [(0, 1, 2), (3, 4, 0)]}, "no list of pairs"),
        ({"mapping": [0, 1]}, "no list of pairs"),
        ({"mapping": [(0.5, 1)]}, "no list of pairs"),
        ({"geometry": "nonsense"}, "cannot be 'nonsense'; choose 'fixed' or 'interpolated'"),
        ({"steps": 1}, "two ends"),
        ({"end": Atoms("OH2", [[0, 0, 0], [0, 0, 1], [0, 1, 0]])}, "end of the path O is an element"),
        ({"start": bulk("C")}, "periodic"),
        ({"end": START, "mapping": [(0, 0), (1, 1), (2, 2), (3, 3)]}, "map such atoms on each other"),
    ],
)
def test_impossible_paths_are_refused(change, words):
    model = build(CONFIGS["schnet"])
    with pytest.raises(InputError, match=words) as caught:
        alchemical_path(model, **{"start": START, "end": END, "mapping": MAPPING} | change)
    assert str(caught.value).count(". ") == 0


def test_models_that_cannot_mix_elements_are_refused():
    acsf = build({"representation": {"name": "behler_parrinello"}})
    with pytest.raises(InputError, match="features of elements"):
        alchemical_path(acsf, START, END, MAPPING)
    with pytest.raises(InputError, match="does not predict energies"):
        alchemical_path(Model(ModelConfig(readouts=[{"name": "dipole"}]), [1, 6, 7]), START, END, MAPPING)
    charged = Model(ModelConfig(**CONFIGS["schnet"]), [1, 6, 7], charges=[0.0, 1.0])
    ion = END.copy()
    ion.info["charge"] = 1.0
    with pytest.raises(InputError, match="differ in charge"):
        alchemical_path(charged, START, ion, MAPPING)


def distances(system):
    return np.linalg.norm(system.positions[:, None] - system.positions[None], axis=-1)


def test_azines_have_their_composition_bonds_and_symmetry():
    assert [azine(name).formula for name in AZINES] == ["C6H6", "C5H5N", "C4H4N2", "C3H3N3"]
    # MP2/6-31G* geometries of ASE's G2 set, for the two that are in it.
    for name, other in (("benzene", "C6H6"), ("pyridine", "C5H5N")):
        atoms, ours = molecule(other), azine(name)
        theirs = np.sort(atoms.get_all_distances()[atoms.numbers > 1][:, atoms.numbers > 1].ravel())
        heavy = ours.numbers > 1
        assert np.sort(distances(ours)[heavy][:, heavy].ravel()) == pytest.approx(theirs, abs=0.02)
    for name, turns in (("benzene", 6), ("pyrazine", 2), ("s-triazine", 3)):
        system = azine(name)
        turned = Rotation.from_rotvec([0, 0, 2 * np.pi / turns]).apply(system.positions)
        apart = np.linalg.norm(turned[:, None] - system.positions[None], axis=-1)
        assert apart.min(axis=1).max() < 2e-5
        assert (system.numbers[apart.argmin(axis=1)] == system.numbers).all()
    for name in AZINES:
        system = azine(name)
        mirrored = site_positions(name)[[0, 5, 4, 3, 2, 1]] * [-1, 1, 1]
        assert mirrored == pytest.approx(site_positions(name)[:6], abs=1e-12)
        beside = occupied(name)[system.numbers == 1] - 6
        lengths = np.linalg.norm(site_positions(name)[beside + 6] - site_positions(name)[beside], axis=1)
        assert ((lengths > 1.08) & (lengths < 1.09)).all()
    assert azine("s-triazine", "benzene").positions == pytest.approx(azine("benzene").positions[occupied("s-triazine")])


def test_azines_are_those_of_qm9(shared_data):
    data = read_dataset(shared_data / "qm9.npz", {"energy": LabelSource("U0", "Ha")})
    index = np.load(shared_data / "qm9.npz")["gdb_index"]
    for name, number in zip(AZINES, (214, 215, 216, 218), strict=True):
        system, ours = data[int(np.flatnonzero(index == number)[0])], azine(name)
        assert system.formula == ours.formula
        assert np.sort(distances(system).ravel()) == pytest.approx(np.sort(distances(ours).ravel()), abs=2e-4)


def test_a_chain_joins_the_three_paths(dtnn):
    assert shared_sites("pyridine", "pyrazine") == [(k, k) for k in range(8)] + [(9, 8), (10, 9)]
    chain = azine_chain(dtnn, "fixed", steps=5, relative_to="nothing")
    assert chain.alpha == pytest.approx(np.linspace(0, 3, 13))
    expected = [plain(dtnn, azine(name, "benzene").to_ase()) for name in AZINES]
    assert chain.plain == pytest.approx(expected, abs=1e-9)
    assert chain.energy[[0, 4, 8, 12]] == pytest.approx(expected, abs=1e-9)
    assert chain.site_energies.sum(axis=1) == pytest.approx(chain.energy, abs=1e-9)
    for place, name in enumerate(AZINES):
        there = occupied(name)
        terms = dtnn.predict(azine(name, "benzene").to_ase(), forces=False)["atom_energies"]
        assert chain.site_energies[4 * place, there] == pytest.approx(terms, abs=1e-9)
        assert np.abs(np.delete(chain.site_energies[4 * place], there)).max(initial=0.0) == 0.0
    assert chain.rise == pytest.approx(expected[-1] - expected[0])


def labelled(molecules, energies):
    arrays = [np.concatenate([getattr(each, name) for each in molecules]) for name in ("numbers", "positions")]
    return Dataset.from_arrays(*arrays, [len(each.numbers) for each in molecules], {"energy": np.array(energies)})


def test_labels_are_found_by_the_molecule_not_by_its_formula():
    benzene, triazine = azine("benzene"), azine("s-triazine")
    order = np.random.default_rng(0).permutation(12)
    moved = Rotation.from_rotvec([0.3, 1.0, 2.0]).apply(benzene.positions)[order] + 4.0
    same = AtomicSystem(benzene.numbers[order], moved, benzene.cell, benzene.pbc)
    isomer = AtomicSystem(benzene.numbers, benzene.positions * [1.3, 0.9, 1.0], benzene.cell, benzene.pbc)
    other = AtomicSystem.from_ase(molecule("C6H6"))  # by another method, 0.01 Å off
    data = labelled([isomer, same, triazine], [-1.0, -2.0, np.nan])
    found = alchemy.labelled_energies(data, [azine(name) for name in AZINES])
    assert found[0] == -2.0
    assert np.isnan(found[1:]).all()
    assert alchemy.labelled_energies(labelled([other], [-3.0]), [benzene]).tolist() == [-3.0]
    pyridine = azine("pyridine")  # with nitrogen in the place of the carbon across it, all distances are as before
    across = AtomicSystem(
        pyridine.numbers[[3, 1, 2, 0, *range(4, 11)]], pyridine.positions, pyridine.cell, pyridine.pbc
    )
    assert np.isnan(alchemy.labelled_energies(labelled([across], [-4.0]), [pyridine])).all()
    unlabelled = Dataset.from_arrays(benzene.numbers, benzene.positions, [12], {})
    assert np.isnan(alchemy.labelled_energies(unlabelled, [benzene])).all()


def subject(models, data):
    named = tuple(NamedModel(name, model) for name, model in models.items())
    return Subject(named, (azine("benzene"),), ("benzene",), data, ExplainConfig())


@pytest.fixture(scope="module")
def panel():
    models = {"a": build(CONFIGS["dtnn"], 1, FREE), "b": build(CONFIGS["schnet"], 2, FREE)}
    models["descriptor"] = build({"representation": {"name": "behler_parrinello"}})
    found = alchemy.azine_chain(models["a"], "interpolated", relative_to="nothing")
    data = labelled([azine(name) for name in AZINES], found.plain + np.array([0.0, 0.5, 0.0, 0.01 * found.rise]))
    return alchemy.ANALYSIS.of_models(subject(models, data))


def test_the_panel_states_paths_checks_and_labels(panel):
    assert set(panel.facts["models"]) == {"a", "b"}
    json.dumps(panel.to_dict(), allow_nan=False)
    assert [check.passed for check in panel.checks[:2]] == [True, True]
    moved = panel.facts["models"]["a"]["interpolated"]
    off = abs(moved["rise"] / (panel.facts["labels"][3] - panel.facts["labels"][0]) - 1.0)
    assert panel.checks[2].value == pytest.approx(off)
    assert "2 models" in panel.trust
    assert "labels of all four molecules" in panel.trust
    assert "site_energies" not in panel.facts["models"]["b"]["fixed"]
    differences = [row[3] for row in panel.tables[0].rows]
    assert differences[:3] == pytest.approx([0.0, -0.5 / alchemy.KCAL_PER_MOL, 0.0], abs=1e-6)
    assert [chart.title for chart in panel.views][:2] == ["Energy along the path", "Bends of the path"]
    energies = panel.views[0].series[1]
    assert energies.y * alchemy.KCAL_PER_MOL == pytest.approx(moved["energy"], abs=1e-6)


def test_the_panel_goes_without_labels_and_says_so():
    data = labelled([AtomicSystem.from_ase(molecule("CH4"))], [-1.0])
    panel = alchemy.ANALYSIS.of_models(subject({"a": build(CONFIGS["dtnn"])}, data))
    assert "none of the four molecules" in panel.trust
    assert "One model" in panel.trust
    assert "offsets that were fitted" in panel.trust
    assert panel.facts["labels"] == [None] * 4
    assert len(panel.checks) == 2


def test_the_panel_needs_a_model_that_mixes_h_c_and_n():
    data = labelled([azine("benzene")], [-1.0])
    without = Model(ModelConfig(), [1, 6])
    for models in ({"a": without}, {"a": build({"representation": {"name": "behler_parrinello"}})}):
        with pytest.raises(InputError, match="H, C and N"):
            alchemy.ANALYSIS.of_models(subject(models, data))


def test_a_path_draws_itself_and_its_atoms(dtnn):
    path = alchemical_path(dtnn, START, END, MAPPING, steps=5)
    assert json.dumps(path.to_dict(), allow_nan=False)
    upper, lower = path.plot().axes
    curve = upper.get_lines()[0]
    assert curve.get_ydata() == pytest.approx(path.energy / alchemy.KCAL_PER_MOL)
    assert {"C→N", "N→C", "H→H", "H→·", "·→H"} == {text.get_text() for text in lower.get_legend().get_texts()}
    assert lower.get_xticklabels()[0].get_text() == "0\nCH5N"


def test_curves_of_many_models_differ_in_colour_or_dashes():
    curves = [Curve(f"{k}", [0, 1], [0, k], colour=k % 2, dashes=k // 2) for k in range(8)]
    (axes,) = draw(curves, ["a", "b"], labelled=[np.nan, np.nan]).axes
    looks = {(line.get_color(), str(line.get_linestyle()), str(line._dash_pattern)) for line in axes.get_lines()[:8]}
    assert len(looks) == 8
    assert "labels of the data set" not in [text.get_text() for text in axes.get_legend().get_texts()]
