"""The page in a browser: what a visitor sees and does."""

import mne
import numpy as np
import pytest

from helpers.browser import PHONE, SCREEN, serious_faults, visited, wait_until
from helpers.page import SVG, png, running
from img2eeg_jax.app.library import find
from img2eeg_jax.app.server import make_app
from img2eeg_jax.prediction.encoder import Encoder


@pytest.fixture(scope="module")
def address(network, quick_compilation):
    with running(make_app(find([network]))) as address:
        yield address


@pytest.fixture(scope="module")
def predicted(network, quick_compilation, tmp_path_factory):
    """Two pictures' predictions f32[channel, time], as `Encoder` makes them."""
    folder = tmp_path_factory.mktemp("pictures")
    for seed, name in enumerate(("a.png", "b.png")):
        (folder / name).write_bytes(png(seed))
    return Encoder.from_pretrained(network)(folder).data


def upload(page, *names):
    """Chooses files of noise, named as in `predicted`, and awaits their prediction."""
    seeds = {"a.png": 0, "b.png": 1}
    files = [
        {"name": name, "mimeType": "image/png", "buffer": png(seeds[name])}
        for name in names
    ]
    page.set_input_files("#files", files)
    wait_until(
        page, f"document.querySelectorAll('#shown option').length == {len(names)}"
    )


def curves(page):
    """Returns what the plot draws of each channel."""
    return np.array(
        page.evaluate(
            "document.querySelector('#plot').data"
            ".filter(one => one.name).map(one => one.y)"
        )
    )


def shown_time(page):
    """Returns the time of the map, and of the line in the plot, in ms."""
    line = "document.querySelector('#plot').layout.shapes[0].x0"
    return page.inner_text(".scalp .time"), page.evaluate(line)


def colours(page):
    return page.eval_on_selector_all(
        ".electrodes circle", "all => all.map(one => one.style.fill)"
    )


def test_an_upload_is_drawn(browser, address, predicted):
    with visited(browser, address, viewport=PHONE) as page:
        assert not page.is_visible("#results")
        upload(page, "a.png")
        np.testing.assert_allclose(curves(page), predicted[0], atol=1e-4)
        assert page.inner_text("#plot-title") == "a.png"
        assert "predicted EEG (µV)" in page.text_content("#plot .ytitle")
        peak = np.abs(predicted[0]).max(0).argmax()
        assert shown_time(page) == (f"{10 * peak} ms", 10 * peak)
        assert page.locator("#areas canvas").count() == 4
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.slow
def test_the_slider_moves_the_map_and_the_plot_the_slider(browser, address):
    with visited(browser, address, viewport=SCREEN) as page:
        upload(page, "a.png")
        slider = page.locator(".scalp input[type=range]")
        seen = set()
        for at in range(5):
            slider.fill(str(at))
            assert shown_time(page) == (f"{10 * at} ms", 10 * at)
            seen.add(tuple(colours(page)))
        assert len(seen) == 5
        height = page.evaluate(
            "(plot => plot._fullLayout.yaxis.d2p(plot.data.find(one => one.name).y[0]))"
            "(document.querySelector('#plot'))"
        )
        plot, start = page.locator("#plot .nsewdrag").first, {"x": 3, "y": height}
        plot.hover(position=start)
        page.wait_for_timeout(300)  # as long as Plotly takes to notice
        plot.click(position=start)
        wait_until(page, "document.querySelector('.scalp input').value == 0")
        page.click(".scalp .play")
        wait_until(page, "document.querySelector('.scalp input').value == 2")
        page.click(".scalp .play")


@pytest.mark.slow
def test_two_pictures_differ(browser, address, predicted, tmp_path):
    with visited(browser, address, viewport=SCREEN) as page:
        upload(page, "a.png", "b.png")
        page.select_option("#minus", label="b.png")
        difference = predicted[0] - predicted[1]
        np.testing.assert_allclose(curves(page), difference, atol=2e-4)
        assert page.inner_text("#plot-title") == "a.png − b.png"
        with page.expect_download() as download:
            page.click("[data-format=fif]")
        download.value.save_as(tmp_path / download.value.suggested_filename)
        page.select_option("#shown", label="b.png")
        page.select_option("#minus", label="nothing")
        np.testing.assert_allclose(curves(page), predicted[1], atol=1e-4)
        page.get_by_label("Remove b.png").click()
        wait_until(page, "document.querySelector('#shown').length == 1")
        np.testing.assert_allclose(curves(page), predicted[0], atol=1e-4)
    (evoked,) = mne.read_evokeds(tmp_path / "predicted-ave.fif", verbose="error")
    np.testing.assert_allclose(evoked.data * 1e6, difference, atol=1e-4)


def tab_to(page, selector):
    """Presses the tabulator until an element is reached, and returns it."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate(f"document.activeElement.matches({selector!r})"):
            outline = "getComputedStyle(document.activeElement).outlineStyle"
            around = "getComputedStyle(document.activeElement.parentElement)"
            assert page.evaluate(outline) != "none" or (
                page.evaluate(f"{around}.outlineStyle") != "none"
            )
            return
    raise AssertionError(f"{selector} is not reached")


@pytest.mark.slow
def test_the_keyboard_does_everything(browser, address, tmp_path):
    with visited(browser, address, viewport=SCREEN) as page:
        tab_to(page, "#encoder")
        # Expected early: the browser learns of it without being waited for.
        with page.expect_file_chooser() as chooser:
            tab_to(page, "#files")
            page.keyboard.press("Enter")
        picture = {"name": "a.png", "mimeType": "image/png", "buffer": png(0)}
        chooser.value.set_files(picture)
        page.wait_for_selector("html[data-shown='a.png']")
        tab_to(page, "[data-example='face.png']")
        page.keyboard.press("Space")
        wait_until(page, "document.querySelector('#shown').length == 2")
        tab_to(page, "#chosen button")
        tab_to(page, "#shown")
        page.keyboard.press("ArrowDown")
        page.wait_for_selector("html[data-shown='face.png']")
        tab_to(page, "#minus")
        page.keyboard.press("ArrowDown")
        page.wait_for_selector("html[data-shown='face.png − a.png']")
        tab_to(page, ".scalp .play")
        page.keyboard.press("Enter")
        page.wait_for_selector("[aria-label=Pause]")
        page.keyboard.press("Enter")
        tab_to(page, ".scalp input")
        page.keyboard.press("Home")
        assert shown_time(page) == ("0 ms", 0)
        page.keyboard.press("ArrowRight")
        assert shown_time(page) == ("10 ms", 10)
        tab_to(page, ".scalp .electrode")
        for key, name in (("Home", "O1"), ("End", "O2")):
            page.keyboard.press(key)
            assert page.inner_text(".scalp .readout").startswith(f"{name}, 10 ms: ")
        tab_to(page, "[data-format=csv]")
        with page.expect_download() as download:
            page.keyboard.press("Enter")
        download.value.save_as(tmp_path / "x.csv")
        tab_to(page, "#copy")
        page.keyboard.press("Enter")
        wait_until(
            page, "['Copied', 'Selected'].includes(document.activeElement.textContent)"
        )
        tab_to(page, "#code")


@pytest.mark.slow
def test_refused_files_are_a_message(browser, address):
    refused = "Failed to load resource: the server responded with a status of 400"
    with visited(browser, address, [refused], viewport=PHONE) as page:
        page.evaluate("void (window.alert = () => { document.title = 'attacked'; })")
        svg = {"name": "<b>x.svg", "mimeType": "image/png", "buffer": SVG}
        page.set_input_files("#files", svg)
        page.wait_for_selector("#problem:not([hidden])")
        message = page.inner_text("#problem")
        assert message.startswith("bx.svg: expected a picture (JPEG, PNG")
        assert not page.is_visible("#results")
        many = [
            {"name": f"{i}.png", "mimeType": "image/png", "buffer": b"x"}
            for i in range(12)
        ]
        page.set_input_files("#files", many)
        assert page.inner_text("#problem") == (
            "pictures: expected at most 12, found 13"
        )
        assert page.title() == "Image to EEG"


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [PHONE, SCREEN], ids=["390", "1280"])
def test_axe_finds_no_serious_fault(browser, address, viewport, scheme):
    options = {"viewport": viewport, "color_scheme": scheme}
    with visited(browser, address, **options) as page:
        assert serious_faults(page) == []
        upload(page, "a.png", "b.png")
        assert serious_faults(page) == []
        page.click("#theme")
        page.wait_for_timeout(400)  # colours fade
        assert serious_faults(page) == []


@pytest.mark.slow
def test_axe_finds_what_is_broken(browser, address):
    with visited(browser, address, viewport=SCREEN) as page:
        page.evaluate("document.querySelector('#encoder').parentElement.outerHTML = ''")
        page.evaluate("document.querySelector('html').removeAttribute('lang')")
        assert [fault[0] for fault in serious_faults(page)] == ["html-has-lang"]
