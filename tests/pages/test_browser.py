"""Reports in a real browser: nothing is asked of the network, sliders move by keyboard, numbers are the store's."""

import re

import numpy as np
import pytest
from helpers import small_study

import biasvar as bv

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    study = bv.OptimizerStudy(
        name="descents",
        objectives={"bowl": bv.Quadratic(eigenvalues=[1, 20]), "turned": bv.Quadratic(eigenvalues=[1, 20], angle=30)},
        optimizers={
            "sgd": bv.SGD(learning_rate=[0.01, 0.05, 0.2]),
            "momentum": bv.Momentum(learning_rate=[0.01, 0.05], momentum=[0.5, 0.9]),
        },
        targets={"bowl": [1e-2, 1e-6], "turned": [1e-2, 1e-6]},
        steps=60,
        record=["objective", "parameters"],
        replicates=2,
    )
    falling = bv.OptimizerStudy(
        name="falling",
        objectives={"saddle": bv.Saddle()},
        optimizers={"sgd": bv.SGD(learning_rate=[0.05, 0.1])},
        initial={"saddle": [1.0, 1e-3]},
        steps=60,
        record=["objective", "parameters"],
        replicates=1,
    )
    for each in (small_study(), study, falling):
        bv.run(each, folder / f"{each.name}.zarr", scheduler="synchronous")
        bv.report(folder / f"{each.name}.zarr", folder / f"{each.name}.html")
    return folder


@pytest.fixture
def opened(browser, folder):
    """Open a report; when all is done, nothing was asked of the network and nothing went wrong."""
    troubles = []
    context = browser.new_context(offline=True)

    def open_page(name):
        page = context.new_page()
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
        page.on(
            "request", lambda asked: None if asked.url.startswith(("file:", "data:")) else troubles.append(asked.url)
        )
        page.goto((folder / f"{name}.html").as_uri())
        page.wait_for_selector("body[data-ready=yes]")
        return page

    yield open_page
    context.close()
    assert troubles == []


def column(page, place):
    return page.eval_on_selector_all(
        "table >> nth=0 >> tbody tr", f"rows => rows.map(row => row.cells[{place}].textContent)"
    )


def test_tables_are_sorted_by_their_heads(opened):
    page = opened("small")
    heads = page.eval_on_selector_all("table >> nth=0 >> th", "heads => heads.map(head => head.textContent)")
    place = heads.index("expected risk")
    page.locator("table").nth(0).locator("th button").nth(place).press("Enter")
    risks = [float(re.sub(r"\(.*", "", text)) for text in column(page, place)]
    assert risks == sorted(risks)
    assert np.isinf(risks[-1])
    page.locator("table").nth(0).locator("th button").nth(place).press("Enter")
    assert [float(re.sub(r"\(.*", "", text)) for text in column(page, place)] == risks[::-1]


def test_figures_are_there(opened):
    page = opened("small")
    for details in page.locator("details").all():
        details.locator("summary").click()
    widths = page.eval_on_selector_all("figure img", "images => images.map(image => image.naturalWidth)")
    assert len(widths) >= 4
    assert min(widths) > 100


def number(text):
    return float(text.replace("\N{MINUS SIGN}", "-"))


def test_sliders_move_by_keyboard_and_say_the_stores_numbers(opened, folder):
    page = opened("descents")
    page.wait_for_selector("#explorer[data-ready=yes]")
    page.get_by_role("button", name="momentum").press("Enter")
    rate, momentum = page.get_by_label("learning rate"), page.get_by_label("momentum", exact=True)
    node = bv.open(folder / "descents.zarr").load()["bowl/momentum"].to_dataset()
    for slider in (rate, momentum):
        slider.press("Home")
    for place in range(node.sizes["learning_rate"]):
        said = page.locator("#explorer .says").inner_text()
        cell = node.isel(learning_rate=place, momentum=0, batch_size=0, step=-1)
        found = re.search(r"J = (\S+?)(?: ± (\S+))? at step 60\.", said)
        assert number(found[1]) == pytest.approx(float(cell.objective), rel=6e-3)
        assert number(found[2]) == pytest.approx(float(cell.objective_se), rel=6e-3)
        rate.press("ArrowRight")


def test_another_objective_target_and_start_are_chosen(opened, folder):
    page = opened("descents")
    page.wait_for_selector("#explorer[data-ready=yes]")
    page.get_by_label("objective", exact=True).select_option("turned")
    page.get_by_label("target", exact=True).select_option(label="J = 0.01")
    node = bv.open(folder / "descents.zarr").load()["turned/sgd"].to_dataset().isel(target=0, batch_size=0)
    slider = page.get_by_label("learning rate")
    for place, key in ((0, "Home"), (2, "End")):
        slider.press(key)
        said, cost = page.locator("#explorer .says").inner_text(), float(node.median_cost_to_target[place])
        assert (f"J = 0.01 after {cost:g} gradient" if np.isfinite(cost) else "J = 0.01 is not reached") in said
    before = page.locator("canvas.path, #explorer canvas").nth(0).evaluate("canvas => canvas.toDataURL()")
    page.get_by_label("start").press("End")
    assert page.locator("#explorer canvas").nth(0).evaluate("canvas => canvas.toDataURL()") != before


def test_the_map_chooses_and_play_comes_to_an_end(opened):
    page = opened("descents")
    page.wait_for_selector("#explorer[data-ready=yes]")
    image = page.get_by_label("the grid of hyperparameters; the sliders choose too")
    page.get_by_label("learning rate").press("End")
    image.click(position={"x": 40, "y": 20})
    assert page.get_by_label("learning rate").input_value() == "0"
    path = page.locator("#explorer canvas").nth(0)
    whole = path.evaluate("canvas => canvas.toDataURL()")
    page.get_by_role("button", name="play").click()
    page.wait_for_function("whole => document.querySelector('#explorer canvas').toDataURL() !== whole", arg=whole)
    page.wait_for_function("whole => document.querySelector('#explorer canvas').toDataURL() === whole", arg=whole)


BLACK = """canvas => {
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  const [rows, columns] = [new Set(), new Set()];
  for (let i = 0; i < pixels.length; i += 4) {
    if (pixels[i] + pixels[i + 1] + pixels[i + 2] > 60 || pixels[i + 3] < 200) continue;
    rows.add(Math.floor(i / 4 / canvas.width));
    columns.add((i / 4) % canvas.width);
  }
  return [rows.size / canvas.height, columns.size / canvas.width];
}"""


def test_a_descent_without_a_minimum_is_drawn_on_its_way_and_below_zero(opened):
    page = opened("falling")
    page.wait_for_selector("#explorer[data-ready=yes]")
    page.get_by_label("learning rate").press("End")
    # The first rule is black, and what it is drawn on is not.
    path, curve = (page.locator("#explorer canvas").nth(place).evaluate(BLACK) for place in (0, -1))
    assert min(path) > 0.15
    assert curve[1] > 0.7
