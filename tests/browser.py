"""A real Chromium without a window, for tests of pages."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage",
          "--force-device-scale-factor=1")  # fmt: skip
MISSING = (
    "needs Chromium: no chromium and chromedriver on the PATH "
    '(Debian and Ubuntu: apt-get install chromium chromium-driver; "make browser" does it)'
)


@contextmanager
def chromium(width: int = 1400, height: int = 900, *, dark: bool = False, scripts: bool = True) -> Iterator[Any]:
    """A driver of a fresh browser; skips the test where there is none."""
    binary = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip(MISSING)
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*_FLAGS, f"--window-size={width},{height}"):
        options.add_argument(flag)
    if not scripts:
        options.add_experimental_option("prefs", {"profile.managed_default_content_settings.javascript": 2})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(driver))
    try:
        if dark:
            features = [{"name": "prefers-color-scheme", "value": "dark"}]
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        yield browser
    finally:
        browser.quit()


def open_page(browser: Any, folder: Path, html: str) -> None:
    """Show a page from a file of its own."""
    path = folder / "page.html"
    path.write_text(html, encoding="utf-8")
    browser.get(path.as_uri())
    settle(browser)


def settle(browser: Any) -> None:
    """Wait until what was asked for is painted."""
    browser.execute_async_script("const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(done))")


def colours_painted(browser: Any) -> dict[str, int]:
    """How many pixels of the canvas have each colour, as ``"r,g,b"``."""
    return browser.execute_script(
        """const c = document.getElementById("graph"), counts = {};
        const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
        for (let k = 0; k < d.length; k += 4) {
          const key = `${d[k]},${d[k + 1]},${d[k + 2]}`; counts[key] = (counts[key] || 0) + 1;
        }
        return counts;"""
    )
