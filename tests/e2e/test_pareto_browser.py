"""The page of a search in a real browser: hover, filters, sorting, heat maps, nothing loaded, no complaints."""

from __future__ import annotations

from pathlib import Path

from byoc.pareto.page import report_page
from tests.browser import chromium, open_page, settle
from tests.unit.test_pareto_report import sample_report


def test_the_page_shows_points_tells_of_them_and_filters_them(tmp_path: Path) -> None:
    with chromium() as browser:
        from selenium.webdriver.common.action_chains import ActionChains
        from selenium.webdriver.common.by import By

        open_page(browser, tmp_path, report_page(sample_report(), "./tiny"))
        points = browser.find_elements(By.CSS_SELECTOR, "#plot .point")
        assert len(points) == 3 and len(browser.find_elements(By.CSS_SELECTOR, "#plot .point.frontier")) == 2
        browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", points[0])
        ActionChains(browser).move_to_element(points[0]).perform()
        settle(browser)
        tip = browser.find_element(By.ID, "tip").text
        assert "k8v8 rtn4:g32 chunk 256" in tip and "not worse and not larger: k4v4" in tip
        browser.find_element(By.CSS_SELECTOR, "input[data-key='bits=k2v2']").click()
        settle(browser)
        assert len(browser.find_elements(By.CSS_SELECTOR, "#plot .point")) == 2
        assert len(browser.find_elements(By.CSS_SELECTOR, "#all tbody tr")) == 2
        browser.find_element(By.CSS_SELECTOR, "#most-loss option[value='3']").click()
        settle(browser)
        assert len(browser.find_elements(By.CSS_SELECTOR, "#plot .point")) == 2  # what loses 40% was filtered already
        browser.find_element(By.CSS_SELECTOR, "input[data-key='bits=k2v2']").click()
        settle(browser)
        assert len(browser.find_elements(By.CSS_SELECTOR, "#plot .point")) == 2
        browser.find_element(By.CSS_SELECTOR, "#most-loss option[value='Infinity']").click()
        settle(browser)
        assert len(browser.find_elements(By.CSS_SELECTOR, "#plot .point")) == 3
        browser.find_element(By.CSS_SELECTOR, "input[data-key='bits=k2v2']").click()
        settle(browser)
        first = "#all tbody tr:first-child td:first-child"
        assert browser.find_element(By.CSS_SELECTOR, first).text.startswith("k4v4")
        browser.find_element(By.CSS_SELECTOR, "#all th:nth-child(2)").click()
        settle(browser)
        assert browser.find_element(By.CSS_SELECTOR, first).text.startswith("k8v8")
        assert "bits: k2v2 → k4v4" in browser.page_source and "-39.00 (-41.00 to -37.00)" in browser.page_source
        assert browser.find_element(By.CSS_SELECTOR, "#maps rect") and "512 tokens" in browser.page_source
        assert "</script><b>tiny" in browser.find_element(By.TAG_NAME, "h1").text
        assert browser.get_log("browser") == []
