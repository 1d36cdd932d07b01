"""What tests of pages in a browser share."""

import json

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
    """Let the browser prefer a colour scheme, or print; without arguments as it was."""
    features = [{"name": "prefers-color-scheme", "value": media["scheme"]}] if "scheme" in media else []
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
