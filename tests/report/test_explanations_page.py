import html
import json
import re
import shutil
import sys
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import made_up_explanations as made_up
import numpy as np
import pytest
from page_tools import Page, sha256

from atomlens.errors import InputError
from atomlens.figures import style
from atomlens.panel import AtomValues, Chart, Check, Distribution, Panel, Series, Table, Volume
from atomlens.report import packing, pictures, policy, views
from atomlens.report.explanations import explained_section, largest_page, write_explanations
from atomlens.report.panel_content import formulae

MOLECULES = ["CH4", "C6H6", "CH3CH2OH"]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The folder of a page of three molecules, and what it was made of."""
    pytest.importorskip("plotly", reason="plotly is not installed: pip install 'atomlens[explain]'")
    folder = tmp_path_factory.mktemp("explained")
    given = made_up.written(folder, MOLECULES)
    return SimpleNamespace(folder=folder, given=given, path=write_explanations(folder, **given))


@pytest.fixture(scope="module")
def text(study):
    return study.path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


# --- the page


def test_the_page_is_written_in_one_step(study):
    assert study.path == study.folder / "report.html"
    assert not [each.name for each in study.folder.iterdir() if each.name.startswith(".")]


def test_nothing_is_loaded_from_outside_and_files_lie_beside(page, text, study):
    links = [address for address in page.addresses if not address.startswith(("data:", "#"))]
    assert links
    assert all((study.folder / link).is_file() for link in links)
    assert "contributions/0/panel.json" in links
    assert not re.findall(r"https?://", text)
    assert "@import" not in text
    assert "default-src 'none'" in html.unescape(text)


def test_ids_are_unique_and_links_lead_to_places(page):
    assert len(page.ids) == len(set(page.ids))
    targets = {address[1:] for address in page.addresses if address.startswith("#")}
    assert targets <= set(page.ids)
    assert {"explorer", "models", "analysis-contributions", "analysis-stability"} <= targets


def test_the_summary_counts_what_is_there(page):
    assert "2 models seen through 4 analyses on 3 structures; 7 of 8 checks passed." in page.text
    assert "Failed checks: baseline (How stable it is, models and data)." in page.text
    assert "A partition of an energy is not unique." in page.text


def test_a_claim_that_is_not_borne_out_is_no_failed_check(tmp_path):
    given = made_up.written(tmp_path, MOLECULES[:1])
    claim = Check("groups cluster", "Against chance.", 0.4, "p below 0.01", "", False, claim=True)
    panels = [(row, replace(panel, checks=(claim,))) for row, panel in given["panels"][:1]]
    page = Page(write_explanations(tmp_path, **given | {"panels": panels}).read_text(encoding="utf-8"))
    assert "Claims not borne out here: groups cluster" in page.text
    assert "○ not borne out" in page.text
    assert re.search(r"Claims borne out\s*0 of 1", page.text)
    assert "Failed checks" not in page.text


def test_every_panel_says_what_it_has(page, study):
    for row, panel in study.given["panels"]:
        assert row.title in page.text
        for words in (panel.reading, panel.trust, panel.unavailable):
            assert words.replace("E_i", "Ei") in page.text
        for check in panel.checks:
            assert check.name in page.text
            assert check.what.replace("E_i", "Ei") in page.text
            assert check.limit in page.text
        for table in panel.tables:
            assert table.title in page.text
    assert "0 CH₄" in page.text
    assert "no model here predicts dipole moments" in page.text
    assert "3.00 × 10⁻⁸ eV" in page.text


def test_figures_have_words_and_sizes(page, study):
    assert len(page.images) == len(study.given["pictures"])
    assert all(image["alt"] and int(image["width"]) > 200 and int(image["height"]) > 100 for image in page.images)


def test_models_and_data_are_described(page):
    for words in (
        "schnet, features 64, interactions 3",
        "H, C, O",
        "12,345",
        "qm9.npz",
        "atomlens explain a b --out c",
    ):
        assert words in page.text


def test_panels_stand_by_analysis_and_then_by_structure(text):
    order = re.findall(r'class="panel"(?: data-structure="(\d)")?', text)
    assert order == ["", *3 * ["0", "1", "2"]]


def test_names_from_files_cannot_become_markup(study, tmp_path):
    hostile = "</script><script>alert(1)</script>"
    row, panel = study.given["panels"][1]
    chart = Chart(hostile, hostile, "y", (Series(hostile, np.arange(2), np.arange(2), "text", (hostile, hostile)),))
    table = Table(hostile, (hostile,), ((hostile,),))
    shown = replace(panel, reading=hostile, trust=hostile, tables=(table,), views=(chart,))
    given = study.given | {
        "names": [hostile] * 3, "title": hostile, "panels": [(row, shown)], "models": [{"name": hostile}],
        "pictures": {}, "about": {"command": hostile},
    }  # fmt: skip
    text = write_explanations(tmp_path, **given).read_text()
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text


def test_a_figure_that_is_gone_is_an_error_with_its_file(study, tmp_path):
    given = study.given | {"pictures": {("contributions", 0, "x"): tmp_path / "gone.svg"}}
    with pytest.raises(InputError, match="cannot be read"):
        write_explanations(tmp_path, **given)


def test_the_panels_fit_into_another_page(study):
    given = study.given
    systems, names = given["systems"][:1], given["names"][:1]
    panels = [(row, panel) for row, panel in given["panels"] if panel.structure == 0]
    section = explained_section(study.folder, systems, names, panels, {})
    inside = Page(section.markup)
    assert {entry["id"] for entry in section.contents} <= set(inside.ids)
    assert "choose-structure" not in inside.ids
    assert not {"html", "head", "main", "nav", "h1", "style"} & set(inside.tags)
    rules = policy.content_policy([section.style], ["1", section.script], section.library)
    assert sha256(section.script) in rules
    assert sha256(section.library) in rules


# --- without plotly


def test_without_plotly_there_are_figures_and_a_sentence(study, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "plotly"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "plotly", None)
    shutil.copytree(study.folder, tmp_path, dirs_exist_ok=True)
    given = study.given | {
        "pictures": {key: tmp_path / path.relative_to(study.folder) for key, path in study.given["pictures"].items()}
    }
    text = write_explanations(tmp_path, **given).read_text()
    page = Page(text)
    assert "pip install 'atomlens[explain]'" in page.text
    assert len(page.images) == len(study.given["pictures"])
    assert not page.blocks
    assert "'unsafe-inline'" not in html.unescape(text)
    assert len(text) < 500_000


# --- size


@pytest.fixture(scope="module")
def figures_of_both_kinds(tmp_path_factory):
    """A large and a small figure, drawn once."""
    folder = tmp_path_factory.mktemp("drawn")
    small = made_up.contributions(made_up.systems(["C6H6"])[0], 0, np.random.default_rng(0)).figures
    return (
        style.save_figure(made_up.heavy_figure(), folder, "large"),
        style.save_figure(small["atom_contributions"], folder, "small"),
    )


def test_ten_molecules_stay_below_the_budget(figures_of_both_kinds, tmp_path):
    pytest.importorskip("plotly", reason="plotly is not installed: pip install 'atomlens[explain]'")
    systems, names, panels = made_up.explained(made_up.TEN)
    given = {"systems": systems, "names": names, "models": made_up.MODELS, "about": made_up.ABOUT, "title": "Ten"}
    large, small = figures_of_both_kinds
    drawn = {}
    for place in range(10):  # of some dozen analyses
        for number, source in enumerate([*2 * [large], *3 * [small]]):
            drawn["contributions", place, f"figure_{number}"] = tmp_path / f"{place}_{number}.svg"
            for suffix in (".svg", ".png"):
                shutil.copy(source.with_suffix(suffix), tmp_path / f"{place}_{number}{suffix}")
    path = write_explanations(tmp_path, panels=panels, pictures=drawn, **given)
    assert path.stat().st_size < largest_page(10) == 10_000_000
    assert len(Page(path.read_text()).images) == len(drawn)
    # There was something to do.
    assert sum(figure.stat().st_size for figure in drawn.values()) * 4 / 3 > largest_page(10)


def test_pictures_shrink_the_largest_first_and_no_more_than_needed(figures_of_both_kinds):
    paths = [*figures_of_both_kinds]
    full = pictures.pictures(paths, 10**9)
    sizes = {path: len(picture.address) for path, picture in full.items()}
    for path in paths:
        smaller = min(path.stat().st_size, path.with_suffix(".png").stat().st_size)
        assert sizes[path] == pytest.approx(4 / 3 * smaller, abs=40)
    budget = sum(sizes.values()) - 1000
    reduced = pictures.pictures(paths, budget)
    assert sum(len(picture.address) for picture in reduced.values()) <= budget
    assert [path for path in paths if reduced[path] != full[path]] == [max(paths, key=sizes.__getitem__)]
    assert all((reduced[path].width, reduced[path].height) == (full[path].width, full[path].height) for path in paths)
    least = pictures.pictures(paths, 0)
    assert sum(len(picture.address) for picture in least.values()) < 0.35 * sum(sizes.values())


# --- numbers


@pytest.mark.parametrize("step", [1e-3, 0.7])
def test_packed_arrays_come_back_within_half_a_step(step):
    rng = np.random.default_rng(5)
    values = rng.normal(scale=30.0, size=4000).cumsum()
    values[rng.integers(0, 4000, 900)] = np.nan
    values[:3] = values[-2:] = np.nan
    back = packing.restored(packing.unpacked(packing.packed(packing.quantised(values, step))))
    np.testing.assert_array_equal(np.isnan(back), np.isnan(values))
    assert np.nanmax(np.abs(back - values)) <= 0.5 * step * (1 + 1e-9)
    assert packing.restored(packing.quantised([], 1.0)).shape == (0,)
    assert np.isnan(packing.restored(packing.quantised([np.nan], 1.0))).all()


def test_a_smooth_field_takes_less_than_its_bytes(study):
    """Less than int16 in base64 would (2.67 characters a value)."""
    system = study.given["systems"][2]
    grid = made_up.volume(system, "field", lambda points: made_up.wells(system, "H", points))
    stored = packing.packed(packing.quantised(grid.values, grid.limit / 1000))
    assert len(stored) < 2.0 * grid.values.size


def test_energies_are_converted_and_other_units_are_not(page):
    stored = page.blocks["explained-structure-0"]
    given = {panel.structure: panel for row, panel in made_up.explained(MOLECULES)[2] if row.name == "contributions"}
    values = next(view for view in given[0].views if isinstance(view, AtomValues)).values
    assert stored["atoms"][0]["unit"] == "kcal/mol"
    np.testing.assert_allclose(stored["atoms"][0]["values"], values / made_up.EV, rtol=1e-5)
    assert stored["atoms"][1]["unit"] == "e"
    assert style.shown_unit("V") == (1.0, "V")


def test_fields_on_one_surface_share_its_triangles(page, study):
    stored = page.blocks["explained-structure-1"]
    surfaces = [view for row, panel in study.given["panels"] if (row.name, panel.structure) == ("potential", 1)
                for view in panel.views[:3]]  # fmt: skip
    assert len(stored["geometries"]) == 1
    assert [surface["geometry"] for surface in stored["surfaces"]] == [0, 0, 0]
    geometry = stored["geometries"][0]
    vertices = np.stack([packing.restored(column) for column in geometry["vertices"]], axis=1)
    triangles = np.stack([packing.restored(column) for column in geometry["triangles"]], axis=1)
    np.testing.assert_allclose(vertices, surfaces[0].vertices, atol=5.1e-4)
    np.testing.assert_array_equal(triangles, surfaces[0].triangles)
    for surface, view in zip(stored["surfaces"], surfaces, strict=True):
        back = packing.restored(surface["values"])
        np.testing.assert_allclose(back, view.values / made_up.EV, atol=0.51e-3 * surface["limit"])


def test_of_a_large_field_every_other_grid_point_is_taken():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(90, 41, 50))
    view = Volume("field", "e", np.array([1.0, 2.0, 3.0]), np.diag([0.1, 0.2, 0.3]), values, 2.0)
    stored = views.structure_view("x", made_up.systems(["H2O"])[0], [Panel("a", 0, views=(view,))])["volumes"][0]
    back = packing.restored(stored["values"]).reshape(stored["shape"])
    assert back.size <= views.LARGEST_VOLUME < values.size
    np.testing.assert_allclose(back, values[::2, ::2, ::2], atol=1.01e-3)
    np.testing.assert_allclose(stored["steps"], np.diag([0.2, 0.4, 0.6]))


def test_distributions_are_binned_and_small():
    rng = np.random.default_rng(1)
    values = {"C": rng.normal(size=100_000), "H": np.full(5, -2.0), "O": np.zeros(0)}
    stored = views.distribution_view(Distribution("charge", "e", values))
    assert set(stored["elements"]) == {"C", "H"}
    carbon = stored["elements"]["C"]
    assert carbon["count"] == 100_000
    assert sum(carbon["counts"]) + carbon["outside"] == 100_000
    assert carbon["outside"] < 300
    np.testing.assert_allclose(carbon["quantiles"][100], np.median(values["C"]), atol=1e-6)
    edges = np.linspace(carbon["low"], carbon["high"], len(carbon["counts"]) + 1)
    inside = [((values["C"] >= low) & (values["C"] < high)).sum() for low, high in pairwise(edges)]
    np.testing.assert_array_equal(carbon["counts"], inside)
    assert sum(stored["elements"]["H"]["counts"]) == 5
    assert len(json.dumps(stored)) < 6000


def test_long_series_are_thinned_and_say_so():
    x = np.arange(20_001.0)
    labels = tuple(str(int(value)) for value in x)
    stored = views.chart_view(Chart("t", "x", "y", (Series("all", x, x**2, "markers", labels),)))["series"][0]
    assert len(stored["x"]) == views.MOST_POINTS
    assert (stored["x"][0], stored["x"][-1]) == (0.0, 20_000.0)
    assert stored["labels"] == [str(int(value)) for value in stored["x"]]
    assert stored["name"] == "all (5,000 of 20,001 points)"


def test_the_cell_of_a_crystal_is_kept_and_a_molecule_has_none():
    crystal, single = (views.structure_view("x", system, []) for system in made_up.systems(["Si", "CH4"]))
    np.testing.assert_allclose(crystal["cell"], 5.43 * np.eye(3))
    assert single["cell"] is None
    assert len(single["bonds"]) == 4


# --- policy and words


def test_the_policy_names_exactly_what_the_page_holds(text, page):
    rules = html.unescape(re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1])
    directives = dict(part.strip().split(" ", 1) for part in rules.split(";"))
    scripts = [body for kind, body in re.findall(r"<script([^>]*)>(.*?)</script>", text, re.S) if not kind]
    styles = re.findall(r"<style>(.*?)</style>", text, re.S)
    assert directives["script-src"].split() == [
        f"'sha256-{sha256(each)}'" for each in (*scripts, policy.charts_library())
    ]
    assert directives["style-src-elem"].split() == [f"'sha256-{sha256(each)}'" for each in (*styles, "")]
    assert directives["default-src"] == "'none'"
    assert "unsafe-eval" not in rules
    assert len(page.blocks) == 2 + len(MOLECULES)


@pytest.mark.parametrize(
    ("sentence", "marked"),
    [
        ("E = Σ E_i < 0", "E = Σ E<sub>i</sub> &lt; 0"),
        ("Ω_A^M(r)", "Ω<sub>A</sub><sup>M</sup>(r)"),
        ("E_ring and q_10", "E<sub>ring</sub> and q<sub>10</sub>"),
        ("x_i⁰ = α A[Z_a]", "x<sub>i</sub>⁰ = α A[Z<sub>a</sub>]"),
        ("atom_contributions of qm9_u0_s0 in my_file.npz", "atom_contributions of qm9_u0_s0 in my_file.npz"),
    ],
)
def test_indices_are_set_and_names_are_left(sentence, marked):
    assert formulae(sentence) == marked
