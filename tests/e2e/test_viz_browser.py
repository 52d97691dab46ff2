"""The page of a plan in a real browser: open, expand, search, click, hover, keys, themes, overlays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from byoc.partitioner.plan import Plan
from byoc.viz import notebook_html, overlay_of, plan_page
from tests.browser import chromium, colours_painted, open_page, settle
from tests.unit.large_plan import large_plan
from tests.unit.sample_plan import sample_plan
from tests.unit.test_viz import EVIL, evil_plan

HOST_BOX, NPU_BLUE = "233,235,239", "0,114,178"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as driver:
        yield driver


@pytest.fixture
def page(browser: Any, tmp_path: Path) -> Page:
    return Page(browser, tmp_path)


class Page:
    """What a person does with the page."""

    def __init__(self, browser: Any, folder: Path) -> None:
        self.browser, self.folder = browser, folder

    def open(self, plan: Plan, **measured: Any) -> None:
        overlays = [overlay_of(document, quantity) for quantity, document in measured.items()]
        open_page(self.browser, self.folder, plan_page(plan, overlays))

    def text(self, selector: str) -> str:
        return self.browser.execute_script("return document.querySelector(arguments[0]).textContent", selector)

    def click(self, selector: str) -> None:
        from selenium.webdriver.common.by import By

        self.browser.find_element(By.CSS_SELECTOR, selector).click()
        settle(self.browser)

    def search(self, text: str, enter: bool = True) -> None:
        from selenium.webdriver.common.by import By
        from selenium.webdriver.common.keys import Keys

        field = self.browser.find_element(By.ID, "search")
        field.clear()
        field.send_keys(text, *([Keys.ENTER] if enter else []))
        settle(self.browser)

    def press(self, *keys: str) -> None:
        from selenium.webdriver.common.by import By

        self.browser.find_element(By.ID, "graph").send_keys(*keys)
        settle(self.browser)

    def at_center(self, action: str) -> None:
        """``move_to_element``, ``click`` or ``double_click`` in the middle of the canvas."""
        from selenium.webdriver import ActionChains
        from selenium.webdriver.common.by import By

        canvas = self.browser.find_element(By.ID, "graph")
        getattr(ActionChains(self.browser), action)(canvas).perform()
        settle(self.browser)

    def complaints(self) -> list[str]:
        messages = [entry["message"] for entry in self.browser.get_log("browser")]
        return [m for m in messages if "willReadFrequently" not in m]  # the tests themselves read pixels


def test_the_page_opens_without_complaint_and_loads_nothing(page: Page) -> None:
    page.open(sample_plan())
    assert page.complaints() == []
    assert page.browser.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert page.text("h1") == "tiny" and page.text("header p") == sample_plan().summary()
    assert len(colours_painted(page.browser)) > 10


def test_a_search_finds_by_reason_and_selects_what_it_finds(page: Page) -> None:
    page.open(sample_plan())
    page.search("exponent 2")
    assert page.text("#count") == "2 found"
    details = page.text("#details")
    assert (
        "Pow /norm/Pow" in details and "acc refuses it, stage check" in details and "takes exponent 2 only" in details
    )
    assert "float32[1, n]" in details and "300 FLOP, 64 B" in details
    page.search("no such thing", enter=False)
    assert page.text("#count") == "0 found"


def test_a_search_opens_the_partition_that_holds_what_it_finds(page: Page) -> None:
    page.open(sample_plan())
    page.search("/fc/Relu")
    details = page.text("#details")
    assert 'acc accepts it ("dense_relu")' in details and "dense_relu (2 ops)" in details
    page.at_center("click")
    assert page.text("#said").startswith("Relu /fc/Relu.")


def test_a_click_selects_and_hovering_shows_the_card(page: Page) -> None:
    page.open(sample_plan())
    page.search("/Softmax")
    page.press("\ue00c")  # Escape clears search and selection
    assert "Nothing is selected" in page.text("#details")
    page.at_center("move_to_element")
    card = page.text("#card")
    assert "Softmax /Softmax" in card and "float32[1, n]" in card and "no pattern has nn.softmax at its root" in card
    page.at_center("click")
    assert page.text("#said").startswith("Softmax /Softmax.")


def test_a_double_click_opens_and_closes_a_partition(page: Page) -> None:
    page.open(sample_plan())
    page.search("byoc_acc_0")
    assert page.text("#toggle") == "Expand"
    page.at_center("double_click")
    assert page.text("#toggle") == "Collapse"
    page.click("#toggle")
    assert page.text("#toggle") == "Expand"


def test_expanding_all_shows_the_ops_and_collapsing_all_hides_them(page: Page) -> None:
    page.open(large_plan(200))
    closed = colours_painted(page.browser)
    page.click("#expand")
    opened = colours_painted(page.browser)
    page.click("#collapse")
    assert opened != closed and colours_painted(page.browser) == closed
    assert page.complaints() == []


def test_the_page_can_be_used_by_keys_alone(page: Page) -> None:
    page.open(sample_plan())
    page.press("\ue015")  # down: the first box
    assert page.text("#said").startswith("acc 0, byoc_acc_0.")
    page.press("\ue007")  # Enter opens it
    assert page.text("#toggle") == "Collapse"
    page.press("\ue015", "\ue015")
    assert page.text("#said").startswith("Relu /fc/Relu.")
    page.press("c")
    assert page.text("#said").startswith("acc 0, byoc_acc_0.")
    page.press("\ue015")
    assert page.text("#said").startswith("Pow /norm/Pow.")
    page.press("/")
    assert page.browser.execute_script("return document.activeElement.id") == "search"


def test_links_in_the_details_lead_along_the_graph(page: Page) -> None:
    page.open(sample_plan())
    page.search("/norm/Pow_1")
    page.click("#details ul:last-of-type .link")
    assert page.text("#said").startswith("Softmax /Softmax.")


def test_dark_mode_follows_the_system_and_the_button(page: Page, tmp_path: Path) -> None:
    page.open(sample_plan())
    assert "251,251,252" in colours_painted(page.browser)
    page.click("#theme")
    assert "20,23,28" in colours_painted(page.browser)
    with chromium(dark=True) as browser:
        open_page(browser, tmp_path, plan_page(sample_plan()))
        assert "20,23,28" in colours_painted(browser)


def test_overlays_colour_by_what_was_measured(page: Page) -> None:
    seconds = {
        "partitions": [{"symbol": "byoc_acc_0", "seconds": 2e-3}],
        "ops": [{"node": "/Softmax", "seconds": 1e-5}],
    }
    page.open(sample_plan(), seconds=seconds, error={"partitions": [{"symbol": "byoc_acc_0", "error": "inf"}]})
    assert HOST_BOX in colours_painted(page.browser)
    page.click("#colour option[value=seconds]")
    painted = colours_painted(page.browser)
    assert HOST_BOX not in painted and "254,232,56" in painted and "0,34,78" in painted  # the ends of cividis
    assert "10.0 µs" in page.text("#legend") and "2.00 ms" in page.text("#legend")
    page.search("byoc_acc_0")
    assert "time2.00 ms" in page.text("#details") and "errornot finite" in page.text("#details")


def test_names_from_the_model_stay_text(page: Page) -> None:
    page.open(evil_plan())
    page.search("alert")
    page.at_center("move_to_element")
    assert EVIL in page.text("#card") and EVIL in page.text("#details") and page.text("h1") == EVIL
    assert page.browser.execute_script("return document.querySelectorAll('img').length") == 0
    assert page.complaints() == []


def test_two_thousand_ops_can_be_expanded_searched_and_opened(page: Page) -> None:
    page.open(large_plan(2000))
    page.click("#expand")
    page.search("softmax")
    assert page.text("#count") == "55 found" and page.text("#said").startswith("Softmax ")
    assert NPU_BLUE in colours_painted(page.browser)
    assert page.complaints() == []


def test_without_scripts_the_still_picture_is_shown(tmp_path: Path) -> None:
    with chromium(scripts=False) as browser:
        path = tmp_path / "page.html"
        path.write_text(plan_page(sample_plan()), encoding="utf-8")
        browser.get(path.as_uri())
        from selenium.webdriver.common.by import By

        picture = browser.find_element(By.CSS_SELECTOR, "svg.byoc")
        assert picture.size["width"] > 100 and "acc 0" in picture.text


def test_the_page_works_inside_the_frame_of_a_notebook(page: Page) -> None:
    from selenium.webdriver.common.by import By

    open_page(page.browser, page.folder, f"<!doctype html><body>{notebook_html(sample_plan())}</body>")
    page.browser.switch_to.frame(page.browser.find_element(By.TAG_NAME, "iframe"))
    settle(page.browser)
    page.search("/Softmax")
    assert page.text("#said").startswith("Softmax /Softmax.") and len(colours_painted(page.browser)) > 10
    page.browser.switch_to.default_content()
    assert page.complaints() == []
