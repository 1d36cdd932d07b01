"""What tests of pages in a browser share."""

import json
import re
import time

from atomlens.figures.style import luminance


def visit(browser, address):
    """Open a page; the addresses that were requested for it, and the complaints on the console."""
    browser.get("about:blank")
    for log in ("performance", "browser"):
        browser.get_log(log)  # what the browser did before is not the page's doing
    browser.get(address)
    return requested(browser), browser.get_log("browser")


def requested(browser):
    """Addresses that were requested since this was asked last."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]


def emulate(browser, **media):
    """Let the browser prefer a colour scheme or less motion, or print; without arguments as it was."""
    known = {"scheme": "prefers-color-scheme", "motion": "prefers-reduced-motion"}
    features = [{"name": name, "value": media[key]} for key, name in known.items() if key in media]
    settings = {"media": media.get("media", ""), "features": features}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", settings)


def set_width(browser, width):
    """Make the window so wide (CSS pixels); None: as it was."""
    if width is None:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        return
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def contrast(first, second):
    """Contrast ratio of two CSS colours (WCAG 2.2)."""
    shades = sorted(
        luminance([int(part) / 255 for part in colour.strip("rgba()").split(",")[:3]]) for colour in (first, second)
    )
    return (shades[1] + 0.05) / (shades[0] + 0.05)


class Reader:
    """What a reader does on the page."""

    def __init__(self, browser):
        self.browser = browser
        self.run = browser.execute_script

    def wait(self, selector):
        self.until(lambda: self.run("return !!document.querySelector(arguments[0])", selector), selector)

    def until(self, condition, what):
        end = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < end, f"waited in vain: {what}"
            time.sleep(0.03)

    def settle(self):
        """Wait until cut and scene have not been drawn again for a moment."""
        count = "return (window.drawn ??= 0)"
        if not self.run("return window.watched"):
            self.run(
                "window.watched = true; window.drawn = 0; for (const id of ['scene', 'cut'])"
                " document.getElementById(id).on?.('plotly_afterplot', () => { window.drawn += 1; })"
            )
        before, quiet = -1, 0
        while quiet < 3:
            time.sleep(0.05)
            now = self.run(count)
            quiet, before = (quiet + 1 if now == before else 0), now

    def one(self, selector):
        return self.browser.find_element("css selector", selector)

    def text(self, selector):
        return re.sub(
            r"\s+", " ", self.run("return document.querySelector(arguments[0]).textContent", selector)
        ).strip()

    def choose(self, selector, value):
        """Choose in a list, move a slider, or tick a choice."""
        self.run(
            "const [place, value] = [document.querySelector(arguments[0]), arguments[1]];"
            "if (place.type === 'radio' || place.type === 'checkbox') place.click();"
            "else { place.value = value;"
            " for (const kind of ['input', 'change']) place.dispatchEvent(new Event(kind, { bubbles: true })); }",
            selector,
            value,
        )
        self.settle()
