"""The page in a real browser: Chromium through Selenium, skipped where either is missing."""

import pytest
from browser_tools import contrast, emulate, set_width, visit

from atomlens.report.page import write_report


@pytest.fixture(scope="module")
def opened(browser, synthetic, saved, tmp_path_factory):
    """The browser with the page open, what it requested, and what it complained of."""
    path = write_report(tmp_path_factory.mktemp("study"), synthetic.summary(), saved)
    return browser, path.as_uri(), *visit(browser, path.as_uri())


def shown(opened):
    """The browser with the page in view, whatever was open before."""
    browser, address = opened[:2]
    if browser.current_url != address:
        browser.get(address)
    return browser


def test_no_request_leaves_the_page_and_nothing_is_complained_of(opened):
    _, address, requested, complaints = opened
    assert [url for url in requested if not url.startswith("data:")] == [address]
    assert complaints == []


def test_a_request_would_have_been_seen(browser, tmp_path):
    page = tmp_path / "page.html"
    page.write_text('<img src="http://127.0.0.1:9/picture.png">')
    requested, complaints = visit(browser, page.as_uri())
    assert "http://127.0.0.1:9/picture.png" in requested
    assert complaints


def test_every_figure_is_decoded_and_styled(opened, saved):
    browser = shown(opened)
    widths = browser.execute_script("return Array.from(document.images, image => image.naturalWidth)")
    assert len(widths) == len(saved)
    assert min(widths) > 100
    assert browser.execute_script("return getComputedStyle(document.querySelector('.plate')).borderRadius") == "8px"


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_the_page_never_scrolls_sideways(opened, width):
    browser = shown(opened)
    set_width(browser, width)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    set_width(browser, None)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_both_themes(opened, scheme):
    browser = shown(opened)
    emulate(browser, scheme=scheme)
    ink, ground, plate = browser.execute_script(
        "const colour = (selector, key) => getComputedStyle(document.querySelector(selector))[key];"
        "return [colour('.note', 'color'), colour('body', 'backgroundColor'), colour('.plate', 'backgroundColor')]"
    )
    assert contrast(ink, ground) > 4.5  # WCAG 2.2, level AA
    assert plate == "rgb(255, 255, 255)"


def test_code_can_be_copied_with_the_keyboard(opened):
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import WebDriverWait

    browser = shown(opened)
    button = browser.find_element("css selector", ".copy")
    assert button.is_displayed()
    button.send_keys(Keys.ENTER)
    WebDriverWait(browser, 5).until(lambda _: button.text in {"Copied", "Selected"})
    skip = browser.find_element("css selector", ".skip")
    browser.execute_script("arguments[0].focus()", skip)
    assert skip.location["x"] >= 0
