"""The page of a simulation in a real browser: Chromium through Selenium, skipped where either is missing."""

import time

import made_up_explanations
import made_up_simulations as made_up
import numpy as np
import pytest
from browser_tools import Reader, contrast, emulate, requested, set_width, visit

from atomlens.data.system import symbol
from atomlens.figures.molecule import bonds
from atomlens.panel import Motion, Trajectory
from atomlens.report.simulation import write_simulation

MOLECULES = ["CH3CH2OH", "CH4"]
# The one message that plotly.js causes by itself: how it measures letters could be faster.
_ABOUT_SPEED = "willReadFrequently"
ATOMS, BONDS, HALO, SURFACE, ARROWS, BEADS = 0, 1, 3, 4, 6, 7  # what is drawn, in its order


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The address of a page of two molecules, the second with fields around it, and what it was made of."""
    pytest.importorskip("plotly", reason="plotly is not installed: pip install 'atomlens[explain]'")
    folder = tmp_path_factory.mktemp("simulated")
    given = made_up.written(folder, MOLECULES)
    field = (made_up_explanations.POTENTIAL, made_up_explanations.potential(given["systems"][1], 1))
    given |= {"panels": (*given["panels"], field)}
    return write_simulation(folder, **given).as_uri(), given


@pytest.fixture(scope="module")
def opened(browser, written):
    """The browser with the page open and moving, what it requested, and what it complained of."""
    asked, complaints = visit(browser, written[0])
    page = Reader(browser)
    page.wait("#scene canvas")
    page.until(lambda: page.text("#play") == "Pause", "the first motion")
    return page, asked + requested(browser), complaints + browser.get_log("browser")


@pytest.fixture
def page(opened, written):
    """The page with its first molecule in sight, in its first motion, and still."""
    page = opened[0]
    if page.browser.current_url.partition("#")[0] != written[0]:
        page.browser.get(written[0])
        page.wait("#scene canvas")
        page.until(lambda: page.text("#play") == "Pause", "the first motion")
    page.run("document.getElementById('scene').scrollIntoView({ block: 'center', behavior: 'instant' })")
    pause(page)
    if page.run("return document.getElementById('choose-structure').value") != "0":
        page.choose("#choose-structure", "0")
    page.choose("#moving", "0-0")
    page.choose("#amplitude", "0.4")
    page.choose("#speed", "1")
    return page


def pause(page):
    if page.text("#play") == "Pause":
        page.run("document.getElementById('play').click()")
    page.settle()


def moment(page):
    return float(page.run("return document.getElementById('moment').value"))


def bodies(page, trace, count):
    """Centres (bodies, 3) of the bodies of one mesh, which have equally many vertices."""
    columns = page.run(
        "const trace = document.getElementById('scene').data[arguments[0]];"
        "return ['x', 'y', 'z'].map((axis) => Array.from(trace[axis]))",
        trace,
    )
    return np.stack(columns, axis=1).reshape(count, -1, 3).mean(axis=1)


def shown(page, trace):
    return page.run("return (document.getElementById('scene').data[arguments[0]].x ?? []).length > 0", trace)


def view(written, place, kind):
    panels = [panel for _, panel in written[1]["panels"] if panel.structure == place]
    return next(view for panel in panels for view in panel.views if isinstance(view, kind))


def held(given, system, positions):
    """Positions or beads of all frames where the page holds a molecule."""
    shift = system.positions.mean(axis=0) - given.positions.mean(axis=1)
    return positions + shift.reshape(len(shift), *[1] * (positions.ndim - 2), 3)


# --- what leaves the page


def test_no_request_leaves_the_page_and_nothing_is_complained_of(opened, written):
    _, asked, complaints = opened
    assert [url for url in asked if not url.startswith(("data:", "blob:"))] == [written[0]]
    assert [entry for entry in complaints if _ABOUT_SPEED not in entry["message"]] == []


# --- motions


@pytest.mark.parametrize(("mode", "phase", "amplitude"), [(0, 0.0, 0.4), (4, 0.25, 0.4), (20, 0.6, 1.0)])
def test_atoms_and_bonds_follow_the_motion(page, written, mode, phase, amplitude):
    page.choose("#moving", f"0-{mode}")
    page.choose("#amplitude", str(amplitude))
    page.choose("#moment", str(phase))
    system = written[1]["systems"][0]
    steps = view(written, 0, Motion).displacements[mode]
    expected = system.positions + amplitude * np.sin(2 * np.pi * phase) * steps
    np.testing.assert_allclose(bodies(page, ATOMS, 9), expected, atol=4e-3)
    ends = np.array(bonds([symbol(int(number)) for number in system.numbers], system.positions))
    np.testing.assert_allclose(bodies(page, BONDS, len(ends)), expected[ends].mean(axis=1), atol=4e-3)
    assert f"phase {360 * phase:.0f}°" in page.text("#moment-words")
    assert f"{amplitude:g} Å" in page.text("#amplitude-words")


def test_motions_are_listed_with_their_labels(page, written):
    groups = page.run(
        "return [...document.querySelectorAll('#moving optgroup')]"
        ".map((group) => [group.label, [...group.children].map((option) => option.textContent)])"
    )
    assert groups == [
        ["Normal modes", list(view(written, 0, Motion).labels)],
        ["Frames of the run", ["One replica"]],
    ]


def test_arrows_point_along_the_displacements(page, written):
    page.choose("#moving", "0-9")
    page.choose("#arrows", None)
    assert shown(page, ARROWS)
    steps = view(written, 0, Motion).displacements[9]
    moved = np.linalg.norm(steps, axis=1) > 0.04
    arrows = bodies(page, ARROWS, 2 * moved.sum()).reshape(-1, 2, 3)  # shaft and head of each
    along = arrows[:, 1] - arrows[:, 0]
    cosines = (along * steps[moved]).sum(axis=1) / np.linalg.norm(along, axis=1) / np.linalg.norm(steps[moved], axis=1)
    assert cosines.min() > 0.99
    page.choose("#arrows", None)
    assert not shown(page, ARROWS)


def test_the_keyboard_plays_and_pauses(page):
    from selenium.webdriver.common.keys import Keys

    before = bodies(page, ATOMS, 9)
    page.one("#play").send_keys(Keys.SPACE)
    page.until(lambda: np.abs(bodies(page, ATOMS, 9) - before).max() > 0.02, "atoms that move")
    assert page.text("#play") == "Pause"
    page.one("#play").send_keys(Keys.SPACE)
    page.settle()
    stopped = moment(page)
    time.sleep(0.3)
    assert moment(page) == stopped
    page.run("document.getElementById('moment').focus()")
    page.one("#moment").send_keys(Keys.ARROW_RIGHT)
    page.settle()
    assert moment(page) == pytest.approx(stopped + 0.01, abs=0.006)
    assert "phase" in page.run("return document.getElementById('moment').getAttribute('aria-valuetext')")


def test_a_motion_is_as_fast_as_asked_for(page):
    page.choose("#speed", "0.25")
    turns = page.run(
        "const words = () => Number(/phase (\\d+)/.exec(document.getElementById('moment-words').textContent)[1]) / 360;"
        "const done = arguments[0]; return new Promise((resolve) => {"
        " document.getElementById('play').click(); const start = performance.now();"
        " const watch = () => { if (words() < 0.2) return requestAnimationFrame(watch);"
        "  resolve(words() / ((performance.now() - start) / 1000)); }; watch(); })"
    )
    pause(page)
    # One turn in 1.6 s at full speed; a slow computer draws less often, and never faster.
    assert turns < 1.05 * 0.25 / 1.6 + 0.02


def test_it_stops_out_of_sight_and_goes_on_in_sight(page):
    page.run("document.getElementById('play').click()")
    page.run("document.querySelector('footer').scrollIntoView({ behavior: 'instant' })")
    time.sleep(0.3)
    page.settle()
    stopped = moment(page)
    time.sleep(0.3)
    assert moment(page) == stopped
    assert page.text("#play") == "Pause"
    page.run("document.getElementById('scene').scrollIntoView({ block: 'center', behavior: 'instant' })")
    page.until(lambda: moment(page) != stopped, "motion in sight")


def test_who_wants_little_motion_starts_still_and_may_play(page, written):
    emulate(page.browser, motion="reduce")
    visit(page.browser, written[0])
    page.wait("#scene canvas")
    page.until(lambda: page.text("#moment-words") != "", "the first motion")
    page.settle()
    assert page.text("#play") == "Play"
    assert moment(page) == 0.0
    page.run("document.getElementById('scene').scrollIntoView({ block: 'center', behavior: 'instant' })")
    page.run("document.getElementById('play').click()")
    page.until(lambda: moment(page) > 0.0, "motion that was asked for")
    emulate(page.browser)
    page.run("document.getElementById('play').click()")
    page.browser.get("about:blank")


def test_the_wish_for_less_motion_stops_it(page):
    page.run("document.getElementById('play').click()")
    emulate(page.browser, motion="reduce")
    page.until(lambda: page.text("#play") == "Play", "the end of motion")
    emulate(page.browser)


def test_at_rest_nothing_moves(page, written):
    page.choose("#moving", "rest")
    np.testing.assert_allclose(bodies(page, ATOMS, 9), written[1]["systems"][0].positions, atol=1e-3)
    assert page.text("#moment-words") == "At rest"
    for selector in ("#play", "#moment"):
        assert not page.one(selector).is_enabled()
    assert not page.one("#amplitude").is_displayed()


# --- together with what else the molecule shows


def test_a_chosen_atom_is_marked_where_it_is(page):
    page.choose("#moving", "0-9")
    page.choose("#moment", "0.25")
    page.choose("#atom-4", "4")
    np.testing.assert_allclose(bodies(page, HALO, 1)[0], bodies(page, ATOMS, 9)[4], atol=1e-5)
    words = page.run("return document.getElementById('scene').layout.scene.annotations.map(({ text, x }) => [text, x])")
    assert words == [["H4", pytest.approx(bodies(page, ATOMS, 9)[4][0], abs=1e-3)]]
    assert "H4 (hydrogen)" in page.text("#atom-words")


def test_the_molecule_can_be_turned_while_it_moves(page):
    from selenium.webdriver.common.action_chains import ActionChains

    eye = "const { eye } = document.getElementById('scene').layout.scene.camera; return [eye.x, eye.y, eye.z]"
    first = np.array(page.run(eye))
    page.run("document.getElementById('play').click()")
    scene = page.one("#scene")
    drag = ActionChains(page.browser, duration=50).move_to_element_with_offset(scene, 60, 100).click_and_hold()
    for _ in range(3):
        drag = drag.move_by_offset(24, 8).pause(0.05)
    drag.release().perform()
    stopped = moment(page)
    page.until(lambda: moment(page) != stopped, "motion after the turn")
    pause(page)
    turned = np.array(page.run(eye))
    cosine = turned @ first / np.linalg.norm(turned) / np.linalg.norm(first)
    assert cosine < np.cos(0.15)  # and stays there when it goes on moving
    page.run("document.querySelector('[data-view=reset]').click()")
    page.settle()


def test_a_field_is_seen_first_and_hidden_while_atoms_move(page):
    page.choose("#choose-structure", "1")
    assert page.text("#moment-words") == "At rest"
    assert shown(page, SURFACE)
    page.choose("#moving", "0-3")
    assert not shown(page, SURFACE)
    assert "belong to the structure at rest" in page.text("#motion-note")
    assert "Surface" not in page.text("#legends")
    page.choose("#moving", "rest")
    assert shown(page, SURFACE)


# --- trajectories


@pytest.mark.parametrize("frame", [0, 137, 199])
def test_frames_of_a_run_are_shown_with_their_beads(page, written, frame):
    page.choose("#moving", "run-0")
    page.choose("#moment", str(frame))
    given, system = view(written, 0, Trajectory), written[1]["systems"][0]
    taken = round(frame * 449 / 199)
    expected = held(given, system, given.positions)[taken]
    np.testing.assert_allclose(bodies(page, ATOMS, 9), expected, atol=4e-3)
    beads = bodies(page, BEADS, 72).reshape(8, 9, 3)
    np.testing.assert_allclose(beads - expected, given.beads[taken] - given.positions[taken], atol=6e-3)
    assert f"frame {frame + 1} of 200" in page.text("#moment-words")
    assert f"{given.times[taken]:g} fs" in page.text("#moment-words")
    assert "200 of 450 frames" in page.text("#motion-note")
    page.choose("#beads", None)
    assert not shown(page, BEADS)
    page.choose("#beads", None)


def test_a_run_plays_and_begins_again(page):
    page.choose("#moving", "run-0")
    page.choose("#speed", "3")
    page.choose("#moment", "195")
    page.run("document.getElementById('play').click()")
    page.until(lambda: moment(page) < 190, "the beginning after the end")
    pause(page)


def test_the_whole_run_is_in_view(page, written):
    given = view(written, 0, Trajectory)
    beads = held(given, written[1]["systems"][0], given.beads)
    ranges = page.run(
        "const { scene } = document.getElementById('scene').layout;"
        "return ['x', 'y', 'z'].map((axis) => scene[`${axis}axis`].range)"
    )
    low, high = np.array(ranges).T
    assert (low < beads.min(axis=(0, 1, 2))).all()
    assert (high > beads.max(axis=(0, 1, 2))).all()


# --- every reader


@pytest.mark.parametrize("width", [320, 768, 1280])
def test_the_page_never_scrolls_sideways(page, width):
    set_width(page.browser, width)
    page.settle()
    assert page.run("return document.documentElement.scrollWidth") <= width
    set_width(page.browser, None)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_both_themes(page, scheme):
    emulate(page.browser, scheme=scheme)
    page.settle()
    ground = page.run("return getComputedStyle(document.body).backgroundColor")
    for selector in (
        "#moment-words",
        "#motion-note",
        "#amplitude-words",
        "#play",
        ".alarms li",
        ".unit",
        ".failed-list",
    ):
        ink = page.run("return getComputedStyle(document.querySelector(arguments[0])).color", selector)
        assert contrast(ink, ground) > 4.5, selector  # WCAG 2.2, level AA
    emulate(page.browser)


def test_controls_have_names(page):
    nameless = page.run(
        "return [...document.querySelectorAll('.explained input, .explained select, .explained button')]"
        ".filter((control) => !control.labels?.length && !control.ariaLabel && !control.textContent.trim())"
        ".map((control) => control.outerHTML)"
    )
    assert nameless == []


def test_paper_shows_the_structure_at_rest(page):
    still = page.one("[data-structure='0'].still img")
    assert not still.is_displayed()
    emulate(page.browser, media="print")
    page.until(still.is_displayed, "the picture at rest")
    assert not page.one("[data-structure='1'].still img").is_displayed()
    assert not page.one("#explorer").is_displayed()
    emulate(page.browser)
    page.until(lambda: not still.is_displayed(), "the molecule in three dimensions")


def test_without_webgl_the_structure_is_shown_at_rest(page, written):
    hide = (
        "const real = HTMLCanvasElement.prototype.getContext;"
        "HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {"
        " return kind.startsWith('webgl') ? null : real.call(this, kind, ...rest); };"
    )
    source = page.browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": hide})
    _, complaints = visit(page.browser, written[0])
    page.browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", source)
    page.wait("#atom-0")
    assert page.one("[data-structure='0'].still img").is_displayed()
    assert not page.one("[data-structure='1'].still img").is_displayed()
    for selector in ("#player", "#motion-controls"):
        assert not page.one(selector).is_displayed()
    page.choose("#atom-2", "2")
    assert "O2 (oxygen)" in page.text("#atom-words")
    assert complaints + page.browser.get_log("browser") == []
    page.browser.get("about:blank")


def test_without_scripts_everything_stands_still_and_is_there(page, written):
    page.browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    page.browser.get(written[0])
    shown = [figure.is_displayed() for figure in page.browser.find_elements("css selector", ".plate img")]
    page.browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    page.browser.get("about:blank")
    assert shown == [True] * 4  # two structures at rest, two figures


def test_nothing_was_complained_of_in_the_meantime(page):
    entries = [entry["message"] for entry in page.browser.get_log("browser")]
    assert [entry for entry in entries if _ABOUT_SPEED not in entry] == []
