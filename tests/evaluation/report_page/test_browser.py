"""The report in a browser: what a reader sees, on a phone and on a screen."""

import numpy as np
import pytest

from helpers import invented_findings as invented
from helpers.browser import PHONE, SCREEN, opened, serious_faults
from img2eeg_jax.drawing import scalp
from img2eeg_jax.evaluation.figures.figure import Figure
from img2eeg_jax.evaluation.report_page import write_report


def write(path, n_subjects, png):
    write_report(
        path,
        subjects={i + 1: invented.subject(i) for i in range(n_subjects)},
        protocol=invented.PROTOCOL,
        figures=[Figure(png, "A figure", "A square.", part="encoding")],
        images=invented.thumbnails(),
        title="A long_name_without_any_space_that_a_phone_is_too_narrow_for",
    )
    return path


@pytest.fixture(scope="module")
def png(tmp_path_factory):
    from PIL import Image

    path = tmp_path_factory.mktemp("figures") / "figure.png"
    Image.new("RGB", (900, 500), "white").save(path)
    return path


@pytest.fixture(scope="module")
def report(tmp_path_factory, png):
    return write(tmp_path_factory.mktemp("report") / "a report.html", 1, png)


def outside(page):
    """Returns what is wider than the window, unless it scrolls in a box that fits."""
    return page.evaluate(
        """() => {
          const wide = document.documentElement.clientWidth;
          const isBoxed = e => e && (["auto", "scroll", "hidden"]
            .includes(getComputedStyle(e).overflowX) || isBoxed(e.parentElement));
          return [...document.querySelectorAll("body *")]
            .filter(e => !e.matches(".skip, .sr") && !e.closest("svg")
              && e.getBoundingClientRect().right > wide + 0.5
              && !isBoxed(e.parentElement))
            .map(e => e.outerHTML.slice(0, 80));
        }"""
    )


def check_layout(page):
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert outside(page) == []
    sizes = page.eval_on_selector_all(
        "figure, figure img, .plot .main-svg, table img",
        "all => all.map(e => [e.offsetWidth ?? e.getBoundingClientRect().width,"
        " e.getBoundingClientRect().height, e.complete !== false])",
    )
    assert len(sizes) > 5
    assert all(
        (width is None or width > 20) and height > 20 and is_complete
        for width, height, is_complete in sizes
    )


def lightness(page, selector, of):
    """Returns the mean of R, G and B of a computed colour, 0 to 255."""
    colour = page.eval_on_selector(selector, f"e => getComputedStyle(e).{of}")
    numbers = colour[colour.index("(") + 1 : -1].split(",")[:3]
    return np.mean([float(number) for number in numbers])


def check_colours(page, scheme):
    page_lightness = lightness(page, "body", "backgroundColor")
    assert bool(page_lightness < 60) is (scheme == "dark")
    for selector, of in (("body", "color"), (".plot .xtick text", "fill")):
        assert abs(lightness(page, selector, of) - page_lightness) > 140


def test_opens_without_an_error_or_a_request(browser, report):
    with opened(browser, report, viewport=PHONE, color_scheme="light") as page:
        check_layout(page)
        check_colours(page, "light")
        page.click("#theme")
        check_colours(page, "dark")


def test_a_heading_sorts_both_ways(browser, report):
    with opened(browser, report, viewport=SCREEN) as page:
        head = page.locator(".images th button").last
        column = "rows => rows.map(row => row.cells[row.cells.length - 1].dataset.sort)"

        def values():
            found = page.eval_on_selector_all(".images tbody tr", column)
            return [float(value) for value in found]

        shown = values()
        assert shown == sorted(shown, reverse=True)
        head.click()
        assert values() == sorted(shown)
        head.click()
        assert values() == sorted(shown, reverse=True)


def test_the_slider_draws_the_map_of_its_time(browser, report):
    """The pixels at electrodes' places against the values there."""
    with opened(browser, report, viewport=SCREEN) as page:
        slider = page.locator(".scalp input")
        at = int(np.argmin(np.abs(invented.TIMES_S - 0.3)))
        slider.evaluate(
            f"e => {{ e.value = {at}; e.dispatchEvent(new Event('input')); }}"
        )
        assert page.inner_text(".scalp .time") == "300 ms"
        xy = scalp.on_square(scalp.positions_of(invented.CH_NAMES))
        seen = page.eval_on_selector(
            ".scalp canvas",
            """(canvas, xy) => {
              const { width, height } = canvas, context = canvas.getContext("2d");
              const { data } = context.getImageData(0, 0, width, height);
              const at = ([x, y]) =>
                4 * (Math.floor(height * y) * width + Math.floor(width * x));
              return xy.map(place => [...data.slice(at(place), at(place) + 4)]);
            }""",
            xy.tolist(),
        )
        page.hover(".electrodes circle >> nth=4")
        said = page.inner_text(".scalp .readout")
    table = invented.encoding().tables["encoding"]
    values = table["encoding_r"].reshape(len(invented.CH_NAMES), -1)[:, at]
    assert said == f"Oz, 300 ms: encoding r {values[4]:.3f}"
    # The map goes through its electrodes' values: green falls from white to dark red.
    red, green, _, alpha = np.transpose(seen)
    assert (alpha == 255).all()
    assert (red > green).all()
    assert np.corrcoef(green, values)[0, 1] < -0.95


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [PHONE, SCREEN], ids=["390", "1280"])
@pytest.mark.parametrize("n_subjects", [1, 10])
def test_fits_everywhere(browser, tmp_path, png, n_subjects, viewport, scheme):
    path = write(tmp_path / "report.html", n_subjects, png)
    options = {"viewport": viewport, "color_scheme": scheme}
    with opened(browser, path, **options) as page:
        check_layout(page)
        check_colours(page, scheme)
        page.locator(".scalp .play").click()
        page.wait_for_timeout(300)
        page.locator(".scalp .play").click()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("n_subjects", [1, 10])
def test_axe_finds_no_serious_fault(browser, tmp_path, png, n_subjects, scheme):
    path = write(tmp_path / "report.html", n_subjects, png)
    with opened(browser, path, viewport=SCREEN, color_scheme=scheme) as page:
        assert serious_faults(page) == []


@pytest.mark.slow
def test_prints_on_white(browser, report, tmp_path):
    with opened(browser, report, viewport=SCREEN, color_scheme="dark") as page:
        page.emulate_media(media="print")
        assert lightness(page, "body", "backgroundColor") == 255
        assert lightness(page, ".plot .xtick text", "fill") < 80
        assert not page.is_visible("nav")
        page.emulate_media(media="screen")
        page.pdf(path=tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
