"""A browser without a window, in which pages are opened as a reader would."""

import contextlib
import importlib.util
import shutil

import pytest

# Windows of a phone and of a computer, in CSS pixels.
PHONE, SCREEN = {"width": 390, "height": 844}, {"width": 1280, "height": 900}

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


def _listen(page):
    """Returns lists that fill: messages and errors, and addresses of requests."""
    said, requested = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: requested.append(request.url))
    return said, requested


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
    said, requested = _listen(page)
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-charts=drawn]", timeout=60_000)
    yield page
    assert said == []
    others = [url for url in requested if not url.startswith(("data:", "blob:"))]
    assert others == [path.as_uri()]
    page.close()


@contextlib.contextmanager
def visited(browser, address, expected=(), **options):
    """Opens a page of a server; all its requests must have gone there, without cookies.

    Args:
      browser: of `chromium`.
      address: of the server.
      expected: what messages and errors must be, from their beginnings.
      **options: as of `opened`.

    Yields:
      The page, ready.
    """
    context = browser.new_context(**options)
    page = context.new_page()
    said, requested = _listen(page)
    page.goto(address)
    page.wait_for_selector("html[data-ready]", timeout=60_000)
    yield page
    assert [text[: len(e)] for text, e in zip(said, expected, strict=True)] == [
        *expected
    ]
    assert len(requested) > 5
    own = (address, f"blob:{address}", "data:")
    assert [url for url in requested if not url.startswith(own)] == []
    assert context.cookies() == []
    context.close()


def wait_until(page, expression):
    """Waits until an expression is true, which the page's policy must not hinder."""
    for _ in range(200):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never true: {expression}")


def serious_faults(page):
    """Returns what axe-core finds that keeps people from using a page."""
    if importlib.util.find_spec("axe_playwright_python") is None:
        pytest.skip("needs axe-playwright-python")
    from axe_playwright_python.sync_playwright import Axe

    return [
        (fault["id"], node["html"][:150], node["failureSummary"][:300])
        for fault in Axe().run(page).response["violations"]
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"]
    ]
