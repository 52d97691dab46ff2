"""How long the page of a plan takes to answer: from an event until the frame that shows it is drawn, in Chromium.

python benchmarks/viz.py [--ops 2000] [--repeat 20]

Run from the checkout, since the plan is the tests' own.  Each figure holds the wait for the next frame (up to 17 ms).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from byoc.viz import plan_page
from tests.browser import chromium, open_page
from tests.unit.large_plan import large_plan

_TIMED = """
const [action, repeat, done] = arguments, canvas = document.getElementById("graph"), times = [];
const at = (k) => ({ offsetX: 300 + 7 * k, clientX: 300 + 7 * k, clientY: 300 + 5 * k, pointerId: 1, bubbles: true });
const pointer = (type, k) => canvas.dispatchEvent(new PointerEvent(type, at(k)));
canvas.setPointerCapture = () => {};
const search = document.getElementById("search");
const actions = {
  zoom: (k) => canvas.dispatchEvent(new WheelEvent("wheel", { deltaY: k % 2 ? 120 : -120, clientX: 500 })),
  drag: (k) => { if (k === 0) pointer("pointerdown", 0); pointer("pointermove", k + 1); },
  hover: (k) => pointer("pointermove", 3 * k),
  search: (k) => {
    search.value = ["softmax", "conv", "/n1", "no pattern", "dsp"][k % 5];
    search.dispatchEvent(new Event("input"));
  },
  "next found": () => search.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter" })),
  arrow: (k) => canvas.dispatchEvent(new KeyboardEvent("keydown", { key: k % 3 ? "ArrowDown" : "ArrowRight" })),
  "open or close": () => canvas.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter" })),
  "expand all": () => canvas.dispatchEvent(new KeyboardEvent("keydown", { key: "e" })),
  fit: () => canvas.dispatchEvent(new KeyboardEvent("keydown", { key: "0" })),
  "collapse all": () => canvas.dispatchEvent(new KeyboardEvent("keydown", { key: "c" })),
  "light or dark": () => document.getElementById("theme").click(),
};
let k = 0;
const next = () => {
  if (k === repeat) { if (action === "drag") pointer("pointerup", k); done(times); return; }
  const start = performance.now();
  actions[action](k);
  k += 1;
  requestAnimationFrame(() => {
    canvas.getContext("2d").getImageData(0, 0, 1, 1);  // waits until all is drawn
    times.push(performance.now() - start);
    setTimeout(next, 5);
  });
};
next();
"""
_STATES = {
    "closed": ["zoom", "drag", "hover", "search", "next found", "arrow", "open or close"],
    "all open, fitted": ["expand all", "fit", "zoom", "drag", "hover", "search", "next found", "arrow", "open or close",
                         "light or dark", "collapse all"],
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ops", type=int, default=2000)
    parser.add_argument("--repeat", type=int, default=20)
    given = parser.parse_args()
    plan = large_plan(given.ops)
    start = time.perf_counter()
    page = plan_page(plan)
    print(f"{given.ops} ops: page of {len(page) / 1e6:.2f} MB made in {time.perf_counter() - start:.2f} s")
    with chromium() as browser, tempfile.TemporaryDirectory() as folder:
        open_page(browser, Path(folder), page)
        for state, actions in _STATES.items():
            for action in actions:
                print_times(state, action, browser.execute_async_script(_TIMED, action, given.repeat))


def print_times(state: str, action: str, times: list[Any]) -> None:
    """One line: the median and the slowest."""
    print(f"{state:18} {action:14} median {statistics.median(times):6.1f} ms, slowest {max(times):6.1f} ms")


if __name__ == "__main__":
    main()
