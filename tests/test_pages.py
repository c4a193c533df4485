"""Pages: heat maps say what is in an array, and, in a real browser, the pages work."""

import base64
import re
import shutil
import struct
import zlib
from html import unescape
from xml.etree import ElementTree

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import classifier, pages
from tinygraph.drawing.svg import contrast
from tinygraph.testing import check_gradients
from tinygraph.testing.report import Entry
from tinygraph.training.history import History


def numbers_of(figure):
    return [float(x) for x in re.findall(r'<td style="[^"]*" title="([^"]*)"', figure)]


def pixels(figure):
    """Of each picture in a figure its indices into the palette, by another way than the one that wrote it."""
    found = []
    for text in re.findall(r"base64,([^\"]+)", figure):
        data, chunks, i = base64.b64decode(text), {}, 8
        while i < len(data):
            length, kind = struct.unpack(">I4s", data[i:i + 8])
            body = data[i + 8:i + 8 + length]
            assert struct.unpack(">I", data[i + 8 + length:i + 12 + length])[0] == zlib.crc32(kind + body)
            chunks[kind] = body
            i += 12 + length
        width, height = struct.unpack(">II", chunks[b"IHDR"][:8])
        rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, width + 1)
        found.append(rows[:, 1:].astype(int))
    return found


# ---- heat maps


@pytest.mark.parametrize("shape", [(), (3,), (12,), (4, 5), (12, 8), (2, 3, 4)])
def test_a_small_array_is_a_table_of_its_numbers(shape):
    array = np.random.default_rng(0).normal(size=shape)
    figure = pages.heat_map(array)
    assert numbers_of(figure) == array.ravel().tolist()
    assert f"{abs(array).max():.3g}" in figure
    assert str(shape) in figure


@pytest.mark.parametrize(("shape", "pictures"), [((13,), 1), ((4, 9), 1), ((40, 30), 1), ((3, 20, 20), 3),
                                                 ((4, 3, 20, 20), 8)])
def test_a_large_array_is_a_picture(shape, pictures):
    array = np.random.default_rng(0).normal(size=shape)
    found = pixels(pages.heat_map(array))
    assert len(found) == pictures
    slices = array.reshape(-1, *(array.shape if array.ndim > 1 else (1, *shape))[-2:])
    for index, values in zip(found, slices, strict=False):
        np.testing.assert_array_equal(index, np.rint(values / abs(array).max() * 127) + 128)


def test_a_very_large_array_is_made_smaller_and_says_so():
    array = np.zeros((100, 200))
    array[7, 11] = -5.0
    array[99, 199] = 2.0
    figure = pages.heat_map(array)
    (index,) = pixels(figure)
    assert index.shape == (34, 40)
    assert index[2, 2] == 128 - 127
    assert index[33, 39] == 128 + round(2 / 5 * 127)
    assert (index == 128).sum() == index.size - 2
    assert "each square is the entry of largest magnitude of a block of 3 × 5" in figure


def test_what_is_no_number_is_marked():
    figure = pages.heat_map(np.array([1.0, np.nan, -np.inf]))
    assert figure.count(pages.MARKED) == 2
    assert "2 not finite" in figure
    array = np.ones((60, 60))
    array[0, 0] = np.nan
    assert pixels(pages.heat_map(array))[0][0, 0] == 0


@pytest.mark.parametrize("array", [np.zeros((2, 3)), np.zeros((30, 30)), np.ones((0, 3)), np.array([1 + 2j, 3]),
                                   np.array([True, False]), np.arange(3), np.float32(2.5), 3.5])
def test_other_arrays(array):
    assert str(np.shape(array)) in pages.heat_map(array)


def test_the_scale_is_symmetric_and_text_on_it_can_be_read():
    figure = pages.heat_map(np.array([-2.0, 0.0, 1.0, 2.0]))
    shades = re.findall(r'<td style="background:(#\w+)"', figure)
    strongest = round(255 * pages.STRONGEST)
    assert shades == [f"{pages.BELOW}{strongest:02X}", f"{pages.ABOVE}00", f"{pages.ABOVE}{round(strongest / 2):02X}",
                      f"{pages.ABOVE}{strongest:02X}"]
    for paper, ink, faint, surface, _ in pages.INKS.values():
        for hue in (pages.ABOVE, pages.BELOW):
            mixed = [round(int(hue[i:i + 2], 16) * pages.STRONGEST + int(paper[i:i + 2], 16) * (1 - pages.STRONGEST))
                     for i in (1, 3, 5)]
            assert contrast("#{:02X}{:02X}{:02X}".format(*mixed), ink) >= 4.5
        assert min(contrast(faint, paper), contrast(faint, surface)) >= 4.5


def test_names_are_escaped():
    assert "<b>" not in pages.heat_map(np.ones((50, 50)), '<b>"x"')
    assert "<b>" not in pages.page("<b>", "")


# ---- charts, reports, histories


def points(text, line):
    """Where a line of a chart goes."""
    path = re.search(rf'class="tg-line{line}" d="([^"]*)"', text)[1]
    return [tuple(map(float, pair.split())) for pair in re.split("[ML]", path)[1:]]


def test_a_chart_shows_its_numbers():
    training, validation = [3.0, 1.0, 0.5, 0.25], [3.5, 2.0, 1.0, 1.5]
    text = pages.chart("loss & co", {"training": training, "validation": validation}, best=3)
    ElementTree.fromstring(text)
    heights = {float(y): float(place) - 4 for place, y in
               re.findall(r'x="50.0" y="([\d.]+)" text-anchor="end">([^<]+)<', text)}
    (low, bottom), (high, top) = min(heights.items()), max(heights.items())
    assert low <= 0.25
    assert high >= 3.5
    for i, line in enumerate((training, validation)):
        xs, ys = zip(*points(text, i), strict=True)
        assert np.ptp(np.diff(xs)) < 0.2
        assert [low + (bottom - y) / (bottom - top) * (high - low) for y in ys] == pytest.approx(line, abs=0.01)
    circle = re.search(r'<circle r="4" cx="([\d.]+)" cy="([\d.]+)"', text)
    assert tuple(map(float, circle.groups())) == points(text, 1)[2]
    assert "best in epoch 3, 1" in text
    assert "loss &amp; co by epoch: training from 3 to 0.25" in text


@pytest.mark.parametrize("line", [[1.0], [2.0, 2.0], [1.0, np.nan, 3.0], [np.nan], [], [0.0, 1e-300], [-5e9, 5e9]])
def test_charts_of_odd_numbers(line):
    text = pages.chart("loss", {"training": line}, best=1)
    ElementTree.fromstring(text)
    assert "nan" not in re.sub('aria-label="[^"]*"', "", text)
    assert len(re.findall('class="tg-grid"', text)) in range(2, 9)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.2, 0.9), (-3, 17), (1, 30), (5, 5), (0, 0), (1e-9, 3e-9)])
def test_ticks_are_round_and_around(low, high):
    ticks = pages._ticks(low, high)
    assert ticks[0] <= low
    assert ticks[-1] >= high
    assert 3 <= len(ticks) <= 7
    assert np.allclose(np.diff(ticks), np.diff(ticks)[0])


def affine_report():
    def affine(x, W):
        return x @ W

    def gradient(g, x, W):
        wrong = x.T @ g
        wrong[1] *= -1
        return [g @ W.T, wrong]

    rng = np.random.default_rng(0)
    return check_gradients(affine, rng.normal(size=(4, 2)), rng.normal(size=(2, 3)), gradient=gradient)


def test_a_report_shows_the_worst_entries_and_where_they_are(tmp_path):
    report = affine_report()
    report.save(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    (verdict,) = report.failures
    assert [entry.index[0] for entry in verdict.entries] == [1, 1, 1]
    (errors,) = re.findall(r"<figure.*?</figure>", text)
    expected = np.zeros((2, 3))
    for entry in verdict.entries:
        expected[entry.index] = entry.yours - entry.low
        assert f"{entry.yours:.10g}</td>" in text
    assert numbers_of(errors) == expected.ravel().tolist()
    assert "✗ 1 wrong" in text
    with pytest.raises(ValueError, match=r"a report is saved as \.html, not as 'report\.txt'"):
        report.save("report.txt")


def test_a_report_shows_kinks():
    report = check_gradients(np.abs, np.array([0.0, 1.0]), gradient=lambda g, x: [g * np.sign(x)])
    text = report._repr_html_()
    assert "◇ kink" in text
    assert "slopes -1 and 1" in text
    assert "Not differentiable there" in text
    report.subject = "<script>"
    assert "<script>" not in report._repr_html_()


def test_how_far_an_entry_is_off():
    assert Entry((), 3.0, 1.0, 2.0, 0.1, "wrong").off == 1
    assert Entry((), 0.5, 1.0, 2.0, 0.1, "wrong").off == -0.5
    assert Entry((), 1.5, 1.0, 2.0, 0.1, "kink").off == 0
    assert np.isnan(Entry((), np.nan, 1.0, 2.0, 0.1, "wrong").off)


def test_a_history_has_charts_and_a_table(tmp_path):
    history = History("validation loss")
    for i in range(5):
        history.append({"loss": 1 / (i + 1), "hits": i, "validation loss": abs(i - 2), "validation hits": i}, 0.1)
    history.stopped = "the <end>"
    history.save(tmp_path / "history.html")
    text = (tmp_path / "history.html").read_text(encoding="utf-8")
    assert text.count("<svg") == 2
    assert "best in epoch 3, 0" in text
    assert "the &lt;end&gt;" in text
    assert points(text, 0) != points(text, 1)
    assert "no epoch was completed" in History()._repr_html_()
    with pytest.raises(ValueError, match=r"a history is saved as \.html, not as 'a\.png'; `plot` draws pictures"):
        history.save("a.png")


# ---- in a browser


@pytest.fixture(scope="module")
def browser():
    """One browser for all tests here. Where none is installed they are skipped, which in CI is a failure."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("there is no chromium: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason='pip install -e ".[browser]"')
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser, tmp_path):
    """Opens a page; what it writes to the console, or asks the network for, is an error in the end."""
    contexts, complaints = [], []

    def opened(text, width=1300, height=900, dark=False, name="page.html"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        context = browser.new_context(viewport={"width": width, "height": height}, reduced_motion="reduce",
                                      color_scheme="dark" if dark else "light")
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)  # on a busy machine a second is nothing
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: request.url.startswith(("file:", "data:")) or complaints.append(request.url))
        page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
        page.goto(path.as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


def network():
    rng = np.random.default_rng(0)
    model = classifier.NNClassifier([3, 4, 2], rng=0)
    X, t = rng.normal(size=(3, 5)), rng.integers(0, 2, 5)
    return model, X, t


@pytest.fixture(scope="module")
def steps():
    model, X, t = network()
    return tg.step_through(model.loss_node(X, t), names={"X": X, "t": t})


def shown(page, label):
    """The numbers of the figure that has this label, exact."""
    items = page.locator(".item").filter(has=page.locator(".label", has_text=re.compile(rf"^{label}(?:\s|$)")))
    cells = items.last.locator("td")
    return [float(x) for x in cells.evaluate_all("cells => cells.map(cell => cell.title)")]


def test_buttons_keys_slider_and_list_lead_from_step_to_step(opened, steps):
    page = opened(steps.html)
    count, title = page.locator("#count"), page.locator("#title")
    last = len(steps.steps)
    assert count.text_content() == f"1 of {last}"
    page.get_by_role("button", name="Next", exact=True).click()
    assert title.text_content() == "MatMul %4"
    page.keyboard.press("ArrowRight")
    assert (title.text_content(), count.text_content()) == ("Z1: AddBias", f"3 of {last}")
    page.keyboard.press("ArrowLeft")
    page.get_by_role("button", name="Back", exact=True).click()
    page.get_by_role("button", name="Back", exact=True).click(force=True)  # before the first there is none
    assert count.text_content() == f"1 of {last}"
    page.keyboard.press("End")
    assert (title.text_content(), count.text_content()) == ("The gradients", f"{last} of {last}")
    page.keyboard.press("Home")
    assert count.text_content() == f"1 of {last}"
    page.locator("#slider").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert count.text_content() == f"3 of {last}"
    page.get_by_role("navigation", name="All steps").get_by_role("button", name=re.compile("ReLU Forward")).click()
    assert title.text_content() == "A1: ReLU"
    assert page.locator("#list [aria-current]").count() == 1
    assert page.locator("#list [aria-current]").text_content().startswith("A1: ReLU")
    page.locator(".tg-box", has_text="Z2").click()
    assert title.text_content() == "Z2: AddBias"
    page.get_by_role("button", name="First", exact=True).click()
    page.get_by_role("button", name="Last", exact=True).click()
    assert count.text_content() == f"{last} of {last}"


def test_the_current_node_and_what_waits_are_marked(opened, steps):
    page = opened(steps.html)
    page.get_by_role("navigation", name="All steps").get_by_role("button", name=re.compile("ReLU Backward")).click()
    marked = [unescape(text) for text in page.locator(".tg-box.now .tg-name").all_text_contents()]
    assert marked == ["A1"]
    assert sorted(page.locator(".tg-box.waits .tg-name").all_text_contents()) == ["W2", "Z1", "b2"]
    assert page.locator("#alive li").all_text_contents() == ["∂L/∂b2", "∂L/∂W2", "∂L/∂Z1"]
    assert page.locator(".tg-box.later").count() == 0
    page.keyboard.press("Home")
    assert page.locator(".tg-box.later").count() == 6
    width = page.locator(".tg-box.tg-op").first.locator("rect").evaluate("box => getComputedStyle(box).strokeWidth")
    assert width == "1.2px"


def test_displayed_numbers_are_the_engines(opened, steps):
    model, X, t = network()
    loss = model.loss_node(X, t)
    loss.backprop()
    page = opened(steps.html)
    page.keyboard.press("End")
    for parameter in model.parameters:
        assert shown(page, f"∂L/∂{parameter.name}") == parameter.grad.ravel().tolist()
    page.keyboard.press("Home")
    assert shown(page, "X") == X.ravel().tolist()
    tape = {step["title"]: node for step, node in zip(steps.steps[1:], [n for n in tg.Tape(loss) if n.inputs],
                                                      strict=False)}
    inner = tg.backprop(loss, wrt=list(tape.values()))
    for (title, node), grad in zip(tape.items(), inner, strict=True):
        page.get_by_role("navigation", name="All steps").get_by_role("button", name=f"{title} Forward").click()
        name = title.split(":")[0]
        assert shown(page, name) == np.ravel(node.value).tolist()
        page.get_by_role("navigation", name="All steps").get_by_role("button", name=f"{title} Backward").click()
        assert shown(page, f"∂L/∂{name}") == grad.ravel().tolist()


def test_readers_that_listen_hear_the_step(opened, steps):
    page = opened(steps.html)
    live = page.locator("[aria-live=polite]")
    page.keyboard.press("ArrowRight")
    assert live.text_content() == (f"Step 2 of {len(steps.steps)}. Forward. MatMul %4. "
                                   "MatMul of W1 and X gives an array of shape (4, 5).")
    assert page.locator("svg[role=img]").first.get_attribute("aria-labelledby")
    for name in ("First", "Back", "Next", "Last"):
        assert page.get_by_role("button", name=name, exact=True).count() == 1
    page.keyboard.press("Tab")
    focused = page.evaluate("[document.activeElement.id, getComputedStyle(document.activeElement).outlineStyle]")
    assert focused == ["first", "solid"]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_narrow_screens_and_both_modes(opened, steps, dark):
    page = opened(steps.html, width=390, height=800, dark=dark)
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    colours = page.locator("body").evaluate("body => [getComputedStyle(body).backgroundColor, "
                                            "getComputedStyle(document.querySelector('.tg-paper')).fill]")
    expected = pages.INKS["dark" if dark else "light"][0]
    rgb = ", ".join(str(int(expected[i:i + 2], 16)) for i in (1, 3, 5))
    assert colours == [f"rgb({rgb})"] * 2


def test_a_name_is_never_run(opened):
    w = tg.Parameter(np.ones(2), name='</script><img src=x onerror="alert(1)"><script>alert(2)</script>')
    steps = tg.step_through((w * w).sum())
    page = opened(steps.html)
    page.keyboard.press("End")
    assert 'onerror="alert(1)"' in page.locator(".panel").text_content()
    frame = opened(f"<title>notebook</title>{steps._repr_html_()}", name="notebook.html").frame_locator("iframe")
    assert frame.locator("#count").text_content() == f"1 of {len(steps.steps)}"


def test_text_fits_its_box_as_a_browser_draws_it(opened):
    model, X, t = network()
    loss = model.loss_node(X, t)
    v = tg.Parameter(np.ones((2, 3)), name="WWWWWWWW.mmmm@%MWQ")
    drawing = tg.draw(loss, (np.sum(v * 1234.5678, axis=0, keepdims=True)), names={"X": X, "t": t})
    page = opened(drawing.svg, name="graph.svg")
    boxes = page.evaluate("""() => [...document.querySelectorAll(".tg-box[data-box]")].map(box => {
        const outlines = [...box.querySelectorAll("rect, path")], outline = outlines[outlines.length - 1].getBBox();
        return [...box.querySelectorAll("text")].map(text => {
          const inner = text.getBBox();
          return [inner.x - outline.x, outline.x + outline.width - inner.x - inner.width,
                  inner.y - outline.y, outline.y + outline.height - inner.y - inner.height];
        });
      })""")
    assert len(boxes) == len(drawing.picture.graph.boxes)
    margins = np.array([margin for box in boxes for margin in box])
    assert margins[:, :2].min() >= 3
    assert margins[:, 2:].min() >= 0


@pytest.mark.parametrize("width", [400, 1000])
def test_reports_and_histories_in_a_browser(opened, width):
    history = History()
    for i in range(5):
        history.append({"loss": 1 / (i + 1), "a long name of a metric": i, "validation loss": 1.0}, 0.1)
    for text in (affine_report()._repr_html_(), history._repr_html_()):
        page = opened(f"<!doctype html><title>notebook</title>{text}", width=width, dark=width == 400)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator("table").first.is_visible()
