"""The page in a real browser: Chromium through Selenium, skipped where either is missing."""

import json
import shutil

import pytest

from atomlens.report.page import write_report

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1280,900",
]  # fmt: skip


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    from selenium.webdriver.chrome.service import Service

    chromium = next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )
    driver = shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("chromium or chromedriver is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in [*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = webdriver.Chrome(options=options, service=Service(driver))
    yield chrome
    chrome.quit()


@pytest.fixture(scope="module")
def opened(browser, synthetic, saved, tmp_path_factory):
    """The browser with the page open, what it requested, and what it complained of."""
    path = write_report(tmp_path_factory.mktemp("study"), synthetic.summary(), saved)
    return browser, path.as_uri(), *visit(browser, path.as_uri())


def visit(browser, address):
    """Open a page; the addresses that were requested for it, and the complaints on the console."""
    browser.get("about:blank")
    for log in ("performance", "browser"):
        browser.get_log(log)  # what the browser did before is not the page's doing
    browser.get(address)
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    return sent, browser.get_log("browser")


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
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_both_themes(opened, scheme):
    browser = shown(opened)
    features = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", features)
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


def contrast(first, second):
    """Contrast ratio of two CSS colours (WCAG 2.2)."""
    from atomlens.figures.style import luminance

    shades = sorted(
        luminance([int(part) / 255 for part in colour.strip("rgba()").split(",")[:3]]) for colour in (first, second)
    )
    return (shades[1] + 0.05) / (shades[0] + 0.05)
