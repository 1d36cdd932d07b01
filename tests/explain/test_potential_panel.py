"""The panel of Ω: what it states, what it shows, and that its checks can fail."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule
from probes_by_hand import make_model

from atomlens.data.dataset import Dataset
from atomlens.data.system import AtomicSystem
from atomlens.data.units import KCAL_PER_MOL
from atomlens.errors import InputError
from atomlens.explain.probes import potential_panel
from atomlens.explain.probes.chemical_potential import potential_at
from atomlens.explain.probes.potential_panel import ANALYSIS, chosen_probes
from atomlens.explain.probes.probes import Probing
from atomlens.explain.subject import ExplainConfig, NamedModel, Subject
from atomlens.model import Model, ModelConfig
from atomlens.panel import Surface, Volume


def subject_of(models, structure, **settings):
    system = AtomicSystem.from_ase(structure)
    data = Dataset.from_arrays(system.numbers, system.positions, np.array([len(system.numbers)]), {})
    named = tuple(NamedModel(name, model) for name, model in models.items())
    config = ExplainConfig(**({"grid_points": 12, "spacing": 0.4} | settings))
    return Subject(named, (system,), ("0",), data, config)


def panel_of(models, structure, **settings):
    return ANALYSIS.of_structure(subject_of(models, structure, **settings), 0)


@pytest.fixture(scope="module")
def methanol():
    pytest.importorskip("skimage")
    models = {"a": make_model(), "b": make_model(seed=1), "c": make_model("dtnn")}
    return models, panel_of(models, molecule("CH3OH"))


def test_shows_every_probe(methanol, tmp_path):
    _, panel = methanol
    volumes = [view for view in panel.views if isinstance(view, Volume)]
    surfaces = [view for view in panel.views if isinstance(view, Surface)]
    names = [f"Ω of a probe {probe}" for probe in "HCO"]
    assert [view.name for view in volumes] == names
    assert [view.name for view in surfaces] == names
    assert set(panel.figures) == {"potential_cut", "potential_surface"}
    assert set(panel.files) == {f"potential_{probe}.{kind}" for probe in "HCO" for kind in ("cube", "vtk")}
    for name, write in panel.files.items():
        write(tmp_path / name)
        assert (tmp_path / name).stat().st_size > 1000
    json.dumps(panel.to_dict(), allow_nan=False)
    assert max(volumes[0].values.shape) == 12


def test_views_are_relative_to_the_isolated_probe_and_spare_the_nuclei(methanol):
    models, panel = methanol
    view = panel.views[1]
    indices = np.argwhere(np.isfinite(view.values))[::40]
    points = view.origin + indices @ view.steps
    at = potential_at(models["a"], molecule("CH3OH"), points, "C", relative_to="nothing")
    alone = Probing.of(models["a"], molecule("CH3OH")).isolated("C", "nothing")[0]
    np.testing.assert_allclose(view.values[tuple(indices.T)], at - alone, atol=1e-9)
    every = view.origin + np.argwhere(np.ones(view.values.shape)) @ view.steps
    apart = np.linalg.norm(every[:, None] - molecule("CH3OH").positions, axis=2).min(axis=1).reshape(view.values.shape)
    assert (np.isnan(view.values) == (apart < 0.6)).all()
    magnitudes = np.abs(view.values[apart > 1.0])
    assert 0.97 <= np.mean(magnitudes <= view.limit) <= 0.99


def test_says_where_the_extremes_are(methanol):
    _, panel = methanol
    surface = panel.views[3]
    low, high = (
        f"{value / KCAL_PER_MOL:+.1f}".replace("-", "−") for value in (surface.values.min(), surface.values.max())
    )
    assert f"({low} kcal/mol) and highest" in panel.reading
    assert f"({high} kcal/mol)" in panel.reading
    atom = panel.facts["surfaces"]["H"]["minimum"]["atom"]
    symbol = molecule("CH3OH").symbols[atom]
    assert re.search(rf"a probe H [^(]* lowest [^(]*\b{symbol}{atom}\b", panel.reading)
    assert "not the energy of bringing an atom there" in panel.reading


def test_compares_the_models(methanol):
    models, panel = methanol
    others = panel.facts["other_models"]
    assert set(others) == {"b", "c"}
    surface = panel.views[3]
    second = potential_at(models["b"], molecule("CH3OH"), surface.vertices, "H")
    expected = np.corrcoef(surface.values, second)[0, 1]
    assert others["b"]["H"]["correlation"] == pytest.approx(expected, abs=1e-9)
    assert "Ω of 2 other models correlates" in panel.trust
    # Networks that never learned anything have nothing in common.
    lowest = min(each["correlation"] for of in others.values() for each in of.values())
    assert (panel.checks[-1].value, panel.checks[-1].passed) == (lowest, False)
    alone = panel_of({"a": models["a"]}, molecule("CH3OH"))
    assert "nothing says how stable it is" in alone.trust
    twin = panel_of({"a": models["a"], "twin": models["a"]}, molecule("CH3OH"))
    assert "by 1.00 to 1.00 over the probes, and 6 of 6 extremes lie at the same atoms" in twin.trust
    assert "read the pattern, not the numbers" in twin.trust
    assert twin.checks[-1].passed


def test_a_model_without_a_cutoff_says_what_its_zero_is_worth(methanol):
    models, _ = methanol
    panel = panel_of({"c": models["c"]}, molecule("CH3OH"))
    assert "The model has no cutoff: even 100 Å away" in panel.trust
    assert all(check.passed for check in panel.checks)


def test_checks_pass_and_name_their_limits(methanol):
    _, panel = methanol
    assert [check.name for check in panel.checks] == [
        "the whole network", "within the features of atoms", "100 Å away", "vertices on the surface",
        "the same in other models",
    ]  # fmt: skip
    assert [check.name for check in panel.checks if check.claim] == [
        "within the features of atoms", "the same in other models",
    ]  # fmt: skip
    assert all(check.passed for check in panel.checks[:4])
    assert all(np.isfinite(check.value) for check in panel.checks)


class Wrong:
    """Ω with what is heard scaled."""

    def __init__(self, listener):
        self.listener = listener

    def __call__(self, pairs):
        return 1.01 * self.listener(pairs) + 1e-3


def test_wrong_values_fail_their_checks(monkeypatch):
    plain = Probing.of.__func__

    def spoilt(cls, model, structure):
        found = plain(cls, model, structure)
        return replace(found, listener=Wrong(found.listener))

    monkeypatch.setattr(Probing, "of", classmethod(spoilt))
    failed = {check.name for check in panel_of({"a": make_model()}, molecule("CH3OH")).checks if not check.passed}
    assert {"the whole network", "100 Å away"} <= failed


def test_a_surface_beside_its_place_fails_its_check(monkeypatch):
    pytest.importorskip("skimage")
    plain = potential_panel.surfaces

    def moved(*arguments):
        return [replace(each, vertices=each.vertices + 1e-6) for each in plain(*arguments)]

    monkeypatch.setattr(potential_panel, "surfaces", moved)
    checks = panel_of({"a": make_model()}, molecule("CH3OH")).checks
    assert [check.name for check in checks if not check.passed] == ["vertices on the surface"]


def test_features_far_beyond_those_of_atoms_are_not_to_be_read():
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    functions = Model(ModelConfig.parse({"representation": {"name": "behler_parrinello", "n_angular": 0}}), [1, 8])
    frames = [molecule("H2O") for _ in range(20)]
    for frame in frames:
        frame.positions += 0.02 * rng.normal(size=(3, 3))
    functions.representation.standardise([functions.collate(frames)])
    panel = panel_of({"f": functions}, frames[0])
    assert panel.reading.startswith("Do not read this potential")
    assert [check.name for check in panel.checks if not check.passed] == ["within the features of atoms"]


def test_a_crystal_has_its_cell_and_no_surface():
    crystal = bulk("CO", "zincblende", a=3.9)
    subject = subject_of({"a": make_model()}, molecule("CO"))
    subject = replace(subject, systems=(AtomicSystem.from_ase(crystal),))
    panel = ANALYSIS.of_structure(subject, 0)
    assert "no such surface around it" in panel.trust
    assert set(panel.figures) == {"potential_cut"}
    assert all(isinstance(view, Volume) for view in panel.views)
    np.testing.assert_allclose(12 * panel.views[0].steps, crystal.cell.array, atol=1e-12)
    assert panel.reading.startswith("Farther than 1 Å from every atom")
    assert all(check.passed for check in panel.checks)
    assert "100 Å away" not in [check.name for check in panel.checks]


def test_without_scikit_image_the_rest_is_shown(monkeypatch):
    def missing(*_):
        raise InputError("surfaces need scikit-image; install it with: pip install 'atomlens[explain]'")

    monkeypatch.setattr(potential_panel, "surfaces", missing)
    panel = panel_of({"a": make_model()}, molecule("CH3OH"))
    assert len(panel.views) == 3
    assert "No surface is shown: surfaces need scikit-image" in panel.trust
    assert all(check.passed for check in panel.checks)


def energies_of(property_, elements):
    torch.manual_seed(0)
    readout = {"name": "energy"} if property_ == "energy" else {"name": "intensive", "property": property_}
    return Model(ModelConfig.parse({"representation": {"features": 8}, "readouts": [readout]}), elements)


def test_the_first_model_that_serves_is_shown():
    models = {
        "gap": energies_of("gap", [1, 6, 8]),
        "formation": energies_of("formation_energy", [1, 6, 8]),
        "strange": energies_of("energy", [1, 8]),  # it does not know carbon
        "right": energies_of("energy", [1, 6, 8]),
    }
    assert panel_of(models, molecule("CH3OH")).facts["model"] == "right"
    del models["right"]
    assert panel_of(models, molecule("CH3OH")).facts["model"] == "formation"
    del models["formation"]
    with pytest.raises(InputError, match="C is an element that the model never saw"):
        panel_of(models, molecule("CH3OH"))
    with pytest.raises(InputError, match="no model here predicts energy"):
        panel_of({"gap": models["gap"]}, molecule("CH3OH"))


def test_probes_are_those_asked_for_or_the_usual_ones():
    known = energies_of("energy", [8, 14])
    assert chosen_probes(ExplainConfig(), known) == ("O",)
    assert chosen_probes(ExplainConfig(), energies_of("energy", [14, 32])) == ("Si",)
    assert chosen_probes(ExplainConfig(probes=("Si",)), known) == ("Si",)
    panel = panel_of({"a": make_model()}, molecule("CH4"), probes=("O",), isovalue=3.7)
    assert list(panel.facts["probes"]) == ["O"]
    assert "Σ|r - r_i|⁻² = 3.7 Å⁻²" in panel.reading


def test_planes_that_a_structure_does_not_have_are_refused():
    with pytest.raises(InputError, match="there is no atom 7"):
        panel_of({"a": make_model()}, molecule("H2O"), plane_atoms=(0, 1, 7))
    cut = panel_of({"a": make_model()}, molecule("CH3OH"), plane_atoms=(0, 1, 2)).facts["cut"]
    assert cut["plane"] == "the plane through C0, O1 and H2"
