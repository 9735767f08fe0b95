"""A browser without a window, in which pages are opened as a reader would."""

import contextlib
import importlib.util
import shutil

import pytest

_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


@contextlib.contextmanager
def chromium():
    """Yields a browser; skips where Chromium or playwright is not installed."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None or importlib.util.find_spec("playwright") is None:
        pytest.skip("needs chromium and playwright")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=_ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def opened(browser, path, **options):
    """Opens a report; afterwards no message, no error and no request must have come.

    Args:
      browser: of `chromium`.
      path: of the report.
      **options: of the page, such as `viewport` and `color_scheme`.

    Yields:
      The page, its charts drawn.
    """
    page = browser.new_page(**options)
    said, requested = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: requested.append(request.url))
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-charts=drawn]", timeout=60_000)
    yield page
    assert said == []
    others = [url for url in requested if not url.startswith(("data:", "blob:"))]
    assert others == [path.as_uri()]
    page.close()
