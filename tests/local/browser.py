"""A real Chromium without a window, and pictures of what it shows."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.chrome.webdriver import WebDriver

from tests.support import wait_until

WIDTH, HEIGHT = 1280, 900
SECONDS = 20  # for a page to show what it should
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    f"--window-size={WIDTH},{HEIGHT}",
)


def _programs() -> tuple[str, str] | None:
    """Browser and driver, where both are installed."""
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    driver = shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


@contextlib.contextmanager
def chromium(profile: Path) -> Iterator[WebDriver]:
    """Start a browser with an empty profile; it ends with the context.

    A test is skipped where none is installed, or fails there if ``MME_REQUIRE_BROWSER`` is set.
    Nothing is looked for on the net: both programs are named.
    """
    programs = _programs()
    if programs is None:
        if os.environ.get("MME_REQUIRE_BROWSER"):
            pytest.fail("neither Chromium nor chromedriver may be missing here")
        pytest.skip("Chromium or chromedriver is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = programs[0]
    for argument in (*_ARGUMENTS, f"--user-data-dir={profile}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = Service(executable_path=programs[1], log_output=subprocess.DEVNULL)
    driver = WebDriver(options, service)
    try:
        resize(driver, WIDTH, HEIGHT)
        yield driver
    finally:
        driver.quit()


def resize(driver: WebDriver, width: int, height: int) -> None:
    """Let the page have so many pixels, the browser's own frame apart."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def prefer(driver: WebDriver, scheme: str) -> None:
    """Let the person prefer ``light`` or ``dark``."""
    feature = {"name": "prefers-color-scheme", "value": scheme}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})


def screenshot(driver: WebDriver, path: Path) -> None:
    """Write what the browser shows as a PNG."""
    path.write_bytes(driver.get_screenshot_as_png())


def picture(url: str, path: Path, scheme: str = "light") -> None:
    """Write a picture of the page at the URL, once it shows an endpoint and its models."""
    ready = "return document.querySelectorAll('#charts svg').length && !endpoint.hidden"
    with tempfile.TemporaryDirectory() as profile, chromium(Path(profile)) as driver:
        prefer(driver, scheme)
        driver.get(url)
        wait_until(lambda: driver.execute_script(ready), SECONDS, "an endpoint")
        wait_until(
            lambda: driver.execute_script("return models.rows.length > 1"), SECONDS, "a model"
        )
        screenshot(driver, path)


if __name__ == "__main__":  # python -m tests.local.browser URL FILE [light|dark]
    picture(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:4])
