"""Every explorer in a page: it computes what Python computes, and its picture follows the sliders."""

import base64
import importlib
import itertools
import json
import random
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pytest
import torch

from course import explorers
from course.explorers import modules
from course.explorers.day26 import moved_sample_explorer
from course.explorers.day27 import layer_table_explorer
from course.explorers.day33 import rate_plane_explorer, valley_explorer
from course.explorers.explorer import MIME, Explorer, encode
from tests.explorers import pointer
from tests.lectures import common

DRAWN = 60  # settings of each explorer beyond its grid
LARGEST = 300_000  # bytes of an explorer in a notebook


def moves() -> list:
    """`EXPLORERS` of every test_dayNN.py of the lectures."""
    found = []
    for path in sorted(Path(common.__file__).parent.glob("test_day*.py")):
        module = importlib.import_module(f"tests.lectures.{path.stem}")
        for name, moved in getattr(module, "EXPLORERS", {}).items():
            if get_type_hints(moved.make)["return"] is Explorer:
                found.append(pytest.param(moved, id=f"{path.stem.removeprefix('test_')} {name}"))
    return found


@pytest.fixture(params=moves())
def moved(request) -> common.Moves:
    return request.param


def settings_of(explorer: Explorer, grid) -> list[dict]:
    """Every combination of the grid's values; each has to be one that its control offers."""
    assert grid.keys() == explorer.controls.keys()
    for name, values in grid.items():
        offered = explorer.controls[name].values
        assert all(any(value == other for other in offered) for value in values), name
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def anywhere(explorer: Explorer, count: int) -> list[dict]:
    """Settings drawn from all that the controls offer, the same at every run."""
    draw = random.Random(explorer.module)
    return [
        {name: draw.choice(control.values) for name, control in explorer.controls.items()}
        for _ in range(count)
    ]


def assert_alike(page, python, where: str) -> None:
    """Equal words, truths and structure; numbers within 1e-9, of their size where that is above 1."""
    if isinstance(python, dict):
        assert isinstance(page, dict) and page.keys() == python.keys(), where
        for name, value in python.items():
            assert_alike(page[name], value, f"{where}.{name}")
    elif python is None or isinstance(python, str | bool):
        assert page == python and type(page) is type(python), f"{where}: {page!r}, in Python {python!r}"
    elif isinstance(python, list | tuple) and not all(isinstance(each, int | float) for each in python):
        assert len(page) == len(python), where
        for place, value in enumerate(python):
            assert_alike(page[place], value, f"{where}[{place}]")
    else:
        expected = np.asarray(python, dtype=float).ravel()
        got = np.asarray(page, dtype=float).ravel()
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9, err_msg=where)


def test_every_explorer_has_a_grid():
    """Every `..._explorer` function of a day is in that day's `EXPLORERS`."""
    tested = {moved.values[0].make for moved in moves()}
    for path in sorted(Path(explorers.__file__).parent.glob("day*.py")):
        module = importlib.import_module(f"course.explorers.{path.stem}")
        made = {getattr(module, name) for name in vars(module) if name.endswith("_explorer")}
        assert made <= tested, f"tests/lectures/test_{path.stem}.py moves not all of them"


def test_the_page_computes_what_python_computes(moved, show):
    explorer = moved.make()
    every = settings_of(explorer, moved.grid) + anywhere(explorer, DRAWN)
    page = show(explorer)
    for settings, state in zip(every, page.states(every), strict=True):
        assert_alike(state, explorer.compute(**settings), f"{explorer.module} at {settings}")
    assert page.errors == []


def test_every_setting_has_its_picture_and_reset_brings_back_the_first(moved, show):
    explorer = moved.make()
    page = show(explorer)
    first = page.reset()
    every = settings_of(explorer, moved.grid)
    pictures = page.pictures(every)
    assert len(set(pictures)) == (len(every) if moved.frames is None else moved.frames)
    assert page.reset() == first
    for name, values in moved.grid.items():
        shown = page.pictures([dict(moved.shows) | {name: value} for value in values])
        assert len(set(shown)) == len(values), f"{name} changes nothing"
        assert page.reset() == first
    assert page.errors == []
    assert page.page.locator(".problem").is_hidden()


def test_moving_makes_no_elements(moved, show):
    page = show(moved.make())
    page.page.evaluate("() => { page.before = page.elements(); }")
    page.page.evaluate("(all) => page.move(all)", settings_of(page.explorer, moved.grid))
    assert page.page.evaluate(
        "() => page.elements().length === page.before.length && "
        "page.elements().every((element, place) => element === page.before[place])"
    )


def test_a_state_stays_what_it_was(moved, show):
    page = show(moved.make())
    settings = settings_of(page.explorer, moved.grid)
    assert page.page.evaluate("(all) => page.overwritten(all)", settings) == 0


def test_what_takes_long_is_computed_before_a_key_asks_for_it(show):
    explorer = valley_explorer()
    page = show(explorer).page
    page.evaluate("""() => {
        page.asked = [];
        page.around(({ lr }) => {
            page.asked.push(lr);
            for (const began = performance.now(); performance.now() - began < 5; );
        });
    }""")
    slider = page.get_by_role("slider").first
    offered = explorer.controls[slider.get_attribute("name")].values
    start = int(slider.input_value())
    # Nobody has moved anything: one step of each slider is computed, either way.
    sliders = [control for control in explorer.controls.values() if control.kind == "range"]
    steps = sum((each.start > 0) + (each.start < len(each.values) - 1) for each in sliders)
    page.wait_for_function("(count) => page.asked.length === count", arg=1 + steps)
    assert page.evaluate("page.asked")[:3] == [offered[start + step] for step in (0, 1, -1)]
    # A step finds its state, and the next one is computed.
    slider.press("ArrowRight")
    page.wait_for_function("(count) => page.asked.length === count", arg=2 + steps)
    assert page.evaluate("page.asked.at(-1)") == offered[start + 2]
    # One step on the state is there; and it is that of the settings.
    shown = """lr => {
        page.explorer.set({ lr });
        page.explorer.flush();
        return [page.asked.length, page.explorer.state, document.querySelector(".takeaway").textContent];
    }"""
    asked, *ahead = page.evaluate(shown, offered[start + 2])
    assert asked == 2 + steps
    page.evaluate("() => page.around(() => {})")
    assert page.evaluate(shown, offered[start + 2])[1:] == ahead


def test_keys_move_it_and_words_follow(moved, show):
    page = show(moved.make())
    for slider in page.page.get_by_role("slider").all():
        assert page.page.locator(f"label[for={slider.get_attribute('id')}]").inner_text()
        before = slider.get_attribute("aria-valuetext")
        slider.focus()
        # One of the two ends is where it may stand already.
        slider.press("ArrowRight")
        if slider.get_attribute("aria-valuetext") == before:
            slider.press("ArrowLeft")
        assert slider.get_attribute("aria-valuetext") != before
    page.page.evaluate("() => page.explorer.flush()")
    said = page.page.locator(".takeaway").inner_text()
    assert said
    # It is said when nothing has moved for a while; on a busy machine that may be between two sliders, too.
    page.page.wait_for_function(
        "(said) => document.querySelector('.unseen').textContent.startsWith(said)", arg=said
    )
    assert page.page.evaluate("() => page.nameless()") == 0
    assert page.errors == []


def test_explorers_of_one_notebook_leave_each_other_alone(show):
    """Each comes with a copy of the kit; ids and groups of radio buttons belong to the whole page."""
    shown = show(valley_explorer())
    for explorer in (rate_plane_explorer(), layer_table_explorer(), valley_explorer()):
        shown.add(explorer)
    page = shown.page
    assert page.locator(".explorer").count() == 4
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((element) => element.id)")
    assert len(ids) == len(set(ids)) > 4
    groups = page.get_by_role("radiogroup").all()
    assert [group.locator(":checked").count() for group in groups] == [1] * len(groups)
    assert len(groups) == 7


@pytest.mark.parametrize("width", (360, 768))
def test_it_fits_a_phone_and_a_tablet(moved, show, width):
    page = show(moved.make(), width).page
    page.evaluate("() => new Promise(requestAnimationFrame)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_what_a_notebook_stores_is_small_and_complete(moved):
    explorer = moved.make()
    data, _ = explorer._repr_mimebundle_()
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == explorer.model_id
    stored = json.dumps(data[MIME])
    assert len(stored) <= LARGEST, f"{explorer.module} stores {len(stored)} bytes"
    assert json.loads(stored)["module"] in modules.names()
    assert data["text/plain"] == repr(explorer)
    for control in explorer.controls.values():
        assert control.label in repr(explorer)
        assert len(control.values) == len(control.labels) >= 2


def test_settings_from_python_move_the_view(show):
    """The kit's side of `explorer.settings = {…}`: what is near an offered value counts as that one."""
    page = show(valley_explorer()).page
    first = page.evaluate("() => page.shown()")
    page.evaluate("() => { page.explorer.set({ lr: 3.3000001, nesterov: true }); page.explorer.flush(); }")
    settings = page.evaluate("() => page.explorer.settings")
    assert (settings["lr"], settings["nesterov"], settings["beta"]) == (3.3, True, 0.3)
    assert page.evaluate("() => page.shown()") != first


def test_a_finger_that_scrolls_chooses_nothing(show):
    page = show(moved_sample_explorer(), width=360, touch=True).page
    page.add_style_tag(content="body { padding-bottom: 2000px; }")
    first = page.evaluate("() => page.explorer.settings")
    assert pointer.swipe(page, 0, (0.3, 0.5), (0, -160)) == first
    page.wait_for_function("scrollY > 50")
    tapped = pointer.swipe(page, 0, (0.3, 0.5), (0, 0))
    assert tapped["value"] < 0 < first["value"]
    assert pointer.swipe(page, 0, (0.3, 0.5), (120, 0))["value"] > 5


def test_an_error_is_shown_and_raised(show):
    shown = show(valley_explorer())
    page = shown.page
    page.evaluate(
        "() => page.around((settings) => { if (settings.beta > 0.5) throw new Error('too much'); })"
    )
    page.evaluate("() => page.explorer.set({ beta: 0.9 })")
    page.wait_for_function("!document.querySelector('.problem').hidden")
    assert "too much" in page.locator(".problem").inner_text()
    assert any("too much" in error for error in shown.errors)
    page.get_by_role("button", name="Reset").click()
    page.wait_for_function("document.querySelector('.problem').hidden")


@pytest.mark.parametrize(
    ("value", "kind", "numbers"),
    (
        (torch.tensor([[1.5, -2.0]], dtype=torch.float64), "float64", [1.5, -2.0]),
        (torch.tensor([1, 300]), "int32", [1, 300]),
        (torch.tensor([True, False]), "uint8", [1, 0]),
        (np.float32([0.25]), "float32", [0.25]),
    ),
)
def test_arrays_arrive_as_they_are(value, kind, numbers):
    sent = encode({"a": [value]})["a"][0]
    assert (sent["dtype"], sent["shape"]) == (kind, list(value.shape))
    assert np.frombuffer(base64.b64decode(sent["base64"]), kind).tolist() == numbers


@pytest.mark.parametrize("value", (torch.tensor([2**40]), {1, 2}, np.array(["a"])))
def test_what_cannot_be_sent_is_refused(value):
    with pytest.raises(TypeError, match="cannot be given"):
        encode({"a": value})


def test_bundles_take_only_what_is_agreed_upon(tmp_path, monkeypatch):
    monkeypatch.setattr(modules, "FOLDER", tmp_path)
    (tmp_path / "kit.js").write_text("const widget = 1;\nexport { widget };\n")
    (tmp_path / "day1.js").write_text('import { widget } from "./kit.js";\nexport { widget as draw };\n')
    assert "draw: widget" in modules.classic(["day1"])
    for text in (
        "const a = 1;\n",
        "export const a = 1;\nexport { a };\n",
        'import a from "b";\nexport { a };\n',
    ):
        (tmp_path / "day2.js").write_text(text)
        with pytest.raises(ValueError, match=r"day2\.js"):
            modules.classic(["day2"])
