"""The page of explanations in a real browser: Chromium through Selenium, skipped where either is missing."""

import re

import made_up_explanations as made_up
import numpy as np
import pytest
from browser_tools import Reader, contrast, emulate, requested, set_width, visit

from atomlens.explain.probes.field import Plane
from atomlens.panel import AtomValues, Distribution
from atomlens.report.explanations import write_explanations

MOLECULES = ["CH4", "C6H6", "CH3CH2OH", "Si"]
# The one message that plotly.js causes by itself: how it measures letters could be faster.
_ABOUT_SPEED = "willReadFrequently"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The address of a page of three molecules and a crystal, and what it was made of."""
    pytest.importorskip("plotly", reason="plotly is not installed: pip install 'atomlens[explain]'")
    folder = tmp_path_factory.mktemp("explained")
    given = made_up.written(folder, MOLECULES)
    return write_explanations(folder, **given).as_uri(), given


@pytest.fixture(scope="module")
def opened(browser, written):
    """The browser with the page open and drawn, what it requested, and what it complained of."""
    asked, complaints = visit(browser, written[0])
    page = Reader(browser)
    page.wait("#scene canvas")
    page.wait("#cut .contourlayer")
    page.settle()
    return page, asked + requested(browser), complaints + browser.get_log("browser")


@pytest.fixture
def page(opened, written):
    """The page with its first molecule."""
    page = opened[0]
    if page.browser.current_url.partition("#")[0] != written[0]:
        page.browser.get(written[0])
        page.wait("#scene canvas")
    if page.run("return document.getElementById('choose-structure').value") != "0":
        page.choose("#choose-structure", "0")
    return page


def cut_of(page):
    """Coordinates (columns,), (rows,) and values (rows, columns) of the cut, NaN where unknown."""
    x, y, z = page.run("const [drawn] = document.getElementById('cut').data; return [drawn.x, drawn.y, drawn.z]")
    return np.array(x), np.array(y), np.array(z, dtype=float)


def panels_of(written, name):
    return {panel.structure: panel for row, panel in written[1]["panels"] if row.name == name}


# --- what leaves the page


def test_no_request_leaves_the_page_and_nothing_is_complained_of(opened, written):
    _, asked, complaints = opened
    assert [url for url in asked if not url.startswith(("data:", "blob:"))] == [written[0]]
    assert [entry for entry in complaints if _ABOUT_SPEED not in entry["message"]] == []


def test_charts_offer_no_way_to_send_them_away(page):
    names = page.run("return [...document.querySelectorAll('.modebar-btn')].map((button) => button.dataset.title)")
    assert names
    assert not [name for name in names if re.search("cloud|share|upload|edit", name, re.IGNORECASE)]


# --- structures and atoms


def test_another_structure_brings_its_own_panels_and_atoms(page):
    page.one(".chooser [data-step='1']").click()
    page.until(lambda: "1 C₆H₆" in page.text(".chooser select option:checked"), "the second structure")
    page.settle()
    assert page.text(".chooser .place") == "2 of 4"
    shown = page.run(
        "return [...document.querySelectorAll('.panel')].filter((panel) => panel.checkVisibility())"
        ".map((panel) => panel.dataset.structure ?? 'data')"
    )
    assert sorted(shown) == ["1", "1", "1", "data"]
    assert len(page.browser.find_elements("css selector", "#atoms input")) == 12
    assert "no model here predicts dipole moments" in page.one("#analysis-charges").text
    page.one(".chooser [data-step='-1']").click()
    page.one(".chooser [data-step='-1']").click()
    page.until(lambda: "3 Si₈" in page.text(".chooser select option:checked"), "the last structure, backwards")
    page.settle()
    cell = page.run("return document.getElementById('scene').data.find((trace) => trace.type === 'scatter3d').x")
    assert np.nanmax(np.array(cell, dtype=float)) == pytest.approx(5.43)


def test_an_atom_chosen_by_keyboard_is_placed_among_its_kind(page, written):
    from selenium.webdriver.common.keys import Keys

    page.run("document.querySelector('#atom-0').focus()")
    page.one("#atom-0").send_keys(Keys.SPACE)
    page.one("#atom-0").send_keys(Keys.ARROW_RIGHT)
    page.until(lambda: "H1 (hydrogen) of 0 CH₄ is chosen." in page.text("#atom-words"), "the second atom")
    value = next(view for view in panels_of(written, "contributions")[0].views if isinstance(view, AtomValues)).values[
        1
    ]
    data = next(view for view in panels_of(written, "stability")[None].views if isinstance(view, Distribution))
    below = 100 * np.mean(data.per_element["H"] < value)
    words = re.search(r"higher than ([\d.]+) % of the 4,000 hydrogen atoms", page.text("#atom-words"))
    assert float(words[1]) == pytest.approx(below, abs=1.0)
    assert page.run("return document.getElementById('histogram').layout.shapes[0].x0") == pytest.approx(
        value / made_up.EV, rel=1e-4
    )
    assert page.run("return document.getElementById('atom-words').getAttribute('aria-live')") == "polite"


def test_a_click_on_the_molecule_chooses_an_atom(page):
    from selenium.webdriver.common.action_chains import ActionChains

    page.run("document.getElementById('scene').scrollIntoView({ block: 'center', behavior: 'instant' })")
    scene = page.one("#scene")
    ActionChains(page.browser).move_to_element_with_offset(scene, 2, 2).pause(0.1).perform()
    ActionChains(page.browser).move_to_element(scene).pause(0.3).click().perform()  # methane's carbon is in the middle
    page.until(lambda: "C0 (carbon) of 0 CH₄ is chosen." in page.text("#atom-words"), "an atom by a click")
    assert page.run("return document.getElementById('atom-0').checked")


# --- fields


@pytest.mark.parametrize("orientation", ["z", "normal"])
def test_the_cut_is_the_field_in_the_plane(page, written, orientation):
    """A linear field, which interpolation must reproduce; one plane lies along the grid, one across it."""
    page.choose("#choose-structure", "2")
    page.choose("#field", "test field")
    page.choose("#orientation", orientation)
    page.choose("#offset", "0.6")
    system = written[1]["systems"][2]
    plane = Plane.through(system)
    u, v = (np.eye(3)[0], np.eye(3)[1]) if orientation == "z" else (plane.u, plane.v)
    centre = system.positions.mean(axis=0) + 0.6 * np.cross(u, v)
    s, t, values = cut_of(page)
    expected = made_up.linear_field(centre + s[None, :, None] * u + t[:, None, None] * v)
    assert np.isfinite(values).mean() > 0.8
    np.testing.assert_allclose(values[np.isfinite(values)], expected[np.isfinite(values)], atol=0.02)
    assert "0.6 Å above the centre" in page.text("#cut-words")
    page.choose("#offset", "-0.4")
    assert np.nanmax(np.abs(cut_of(page)[2] - values)) > 1.0
    page.choose("#field", page.run("return document.querySelector('#field option').value"))


def test_another_probe_is_another_field(page):
    before, name = cut_of(page)[2], page.text("#cut-legend")
    page.choose("#probe-O", "O")
    after = cut_of(page)[2]
    assert "probe H" in name
    assert "probe O" in page.text("#cut-legend")
    np.testing.assert_allclose(np.nanmin(after), made_up_minimum("CH4", "O"), atol=1.5)
    assert np.nanmax(np.abs(after - before)) > 1.0
    assert "probe O" in page.text("#legends")
    page.choose("#probe-H", "H")


def made_up_minimum(name, probe):
    """The lowest value of the made-up field in the plane of the cut, on a fine grid."""
    system = made_up.systems([name])[0]
    plane = Plane.through(system)
    s, t = np.meshgrid(np.linspace(-2.6, 2.6, 200), np.linspace(-2.6, 2.6, 200))
    points = system.positions.mean(axis=0) + s[..., None] * plane.u + t[..., None] * plane.v
    return np.nanmin(made_up.wells(system, probe, points.reshape(-1, 3)))


def test_negative_contours_are_dashed_and_colours_centred_at_zero(page):
    drawn = page.run(
        "return document.getElementById('cut').data.filter(({ type }) => type === 'contour')"
        ".map(({ contours, line, zmin, zmax }) => [contours.start, contours.end, line.dash, zmin, zmax])"
    )
    field, positive, negative, zero = drawn
    assert field[3] == -field[4] == -25.0
    assert positive[0] > 0
    assert positive[2] == "solid"
    assert negative[1] < 0
    assert "px" in negative[2]
    assert zero[:2] == [0, 0]


def test_the_plane_is_shown_in_three_dimensions_where_the_cut_is(page):
    page.choose("#offset", "0.5")
    assert page.run("return document.getElementById('show-plane').checked")
    x, y, z = page.run(
        "const plane = document.getElementById('scene').data.find(({ type }) => type === 'surface');"
        "return [plane.x, plane.y, plane.z].map((rows) => rows.flat().filter(Number.isFinite))"
    )
    system = made_up.systems(["CH4"])[0]
    plane = Plane.through(system)
    heights = (np.stack([x, y, z], axis=1) - system.positions.mean(axis=0)) @ np.cross(plane.u, plane.v)
    np.testing.assert_allclose(heights, 0.5, atol=1e-4)


def test_keys_and_buttons_turn_and_zoom_the_molecule(page):
    from selenium.webdriver.common.keys import Keys

    eye = "const { eye } = document.getElementById('scene').layout.scene.camera; return [eye.x, eye.y, eye.z]"
    first = np.array(page.run(eye))
    page.one("#scene").send_keys(Keys.ARROW_LEFT)
    page.settle()
    turned = np.array(page.run(eye))
    assert np.linalg.norm(turned) == pytest.approx(np.linalg.norm(first))
    assert turned @ first / (first @ first) == pytest.approx(np.cos(0.2), abs=0.02)
    page.run("document.querySelector('[data-view=closer]').click()")
    page.settle()
    assert np.linalg.norm(page.run(eye)) == pytest.approx(0.85 * np.linalg.norm(first))
    page.run("document.querySelector('[data-view=reset]').click()")
    page.settle()
    np.testing.assert_allclose(page.run(eye), first)


def test_triangles_behind_are_drawn_before_those_in_front(page):
    """Or what is behind would not shine through; also after the molecule was turned."""
    before = surface_order(page)
    for _ in range(4):
        page.run("document.getElementById('scene').dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowUp' }))")
    page.settle()
    assert not np.array_equal(surface_order(page), before)


def surface_order(page):
    """The triangles of the surface (triangles, 3), checked to be in the order of their distance."""
    x, y, z, i, j, k, eye = page.run(
        "const scene = document.getElementById('scene'), { eye } = scene.layout.scene.camera;"
        "const surface = scene.data.filter(({ type, opacity }) => type === 'mesh3d' && opacity === 0.55)[0];"
        "return [...['x', 'y', 'z', 'i', 'j', 'k'].map((name) => Array.from(surface[name])), [eye.x, eye.y, eye.z]]"
    )
    triangles = np.stack([i, j, k], axis=1).astype(int)
    depth = (np.stack([x, y, z], axis=1) @ np.array(eye))[triangles].mean(axis=1)
    assert len(triangles) > 500
    assert np.diff(depth).min() > -1e-5
    return triangles


# --- every reader


@pytest.mark.parametrize("width", [320, 768, 1280])
def test_the_page_never_scrolls_sideways(page, width):
    set_width(page.browser, width)
    page.run("for (const chart of document.querySelectorAll('.charts')) chart.scrollIntoView()")
    page.settle()
    assert page.run("return document.documentElement.scrollWidth") <= width
    set_width(page.browser, None)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_charts_stand_out_in_both_themes(page, scheme):
    page.choose("#atom-1", "1")
    emulate(page.browser, scheme=scheme)
    page.settle()
    ground = page.run("return getComputedStyle(document.body).backgroundColor")
    for selector in (".note", ".source", ".chooser .place", "#probe-C + span", ".legend span", "#atom-words li",
                     ".warning", ".failed-list", "summary", "label", "#cut-words"):  # fmt: skip
        ink = page.run("return getComputedStyle(document.querySelector(arguments[0])).color", selector)
        assert contrast(ink, ground) > 4.5, selector  # WCAG 2.2, level AA
    chosen = page.run(
        "const style = getComputedStyle(document.querySelector('.choices input:checked + span'));"
        "return [style.color, style.backgroundColor]"
    )
    assert contrast(*chosen) > 4.5
    letters = page.run("return getComputedStyle(document.querySelector('#cut .xtick text')).fill")
    assert contrast(letters, ground) > 4.5
    emulate(page.browser)


def test_controls_have_names(page):
    nameless = page.run(
        "return [...document.querySelectorAll('.explained input, .explained select, .explained button')]"
        ".filter((control) => !control.labels?.length && !control.ariaLabel && !control.textContent.trim())"
        ".map((control) => control.outerHTML)"
    )
    assert nameless == []


def test_print_shows_the_figures_of_the_chosen_structure_and_no_controls(page):
    page.choose("#choose-structure", "1")
    assert not page.one("[data-structure='1'] .plate img").is_displayed()  # folded beside the living charts
    emulate(page.browser, media="print")
    page.until(lambda: page.one("[data-structure='1'] .plate img").is_displayed(), "figures on paper")
    assert not page.one("[data-structure='0'] .plate img").is_displayed()
    for selector in (".chooser", "#explorer", ".charts", "nav"):
        assert not page.one(selector).is_displayed()
    inks = page.run(
        "return [...document.querySelectorAll('main :is(p, td, th, li, h2)')].filter((each) => each.checkVisibility())"
        ".map((each) => getComputedStyle(each).color)"
    )
    assert set(inks) == {"rgb(0, 0, 0)"}
    emulate(page.browser)
    page.until(lambda: not page.one("[data-structure='1'] .plate img").is_displayed(), "folded again")


def test_without_webgl_figures_are_open_and_the_rest_works(page, written):
    hide = (
        "const real = HTMLCanvasElement.prototype.getContext;"
        "HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {"
        " return kind.startsWith('webgl') ? null : real.call(this, kind, ...rest); };"
    )
    source = page.browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": hide})
    _, complaints = visit(page.browser, written[0])
    page.browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", source)
    page.wait("#cut .contourlayer")
    assert "no three-dimensional graphics (WebGL)" in page.one("#no-scene").text
    assert not page.one("#scene").is_displayed()
    assert page.one("[data-structure='0'] .plate img").is_displayed()
    page.choose("#atom-2", "2")
    assert "H2 (hydrogen)" in page.text("#atom-words")
    assert complaints + page.browser.get_log("browser") == []


def test_without_scripts_every_structure_is_there(page, written):
    page.browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    page.browser.get(written[0])
    shown = [figure.is_displayed() for figure in page.browser.find_elements("css selector", ".plate img")]
    chooser = page.one(".chooser").is_displayed()
    page.browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    page.browser.get("about:blank")
    assert shown == [True] * 5
    assert not chooser


def test_nothing_was_complained_of_in_the_meantime(page):
    page.settle()
    entries = [entry["message"] for entry in page.browser.get_log("browser")]
    assert [entry for entry in entries if _ABOUT_SPEED not in entry] == []
