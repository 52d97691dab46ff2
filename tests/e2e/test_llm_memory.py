"""A session does not grow while a model writes on and on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from byoc.cli import main
from tests.language_models import make_folder

WRITES = """
import json, sys
from pathlib import Path
from byoc.llm import load

def resident():
    return next(int(x.split()[1]) for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmRSS"))

session = load(sys.argv[1])
session.prefill([i % 40 for i in range(512)])
sizes = []
for i in range(1100):
    session.decode([i % 40])
    if i % 100 == 99:
        sizes.append(resident())
print(json.dumps({"sizes": sizes, "held": session.lengths.tolist(), "cache": session.cache.nbytes}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("window", [None, 64])
def test_a_thousand_tokens_behind_a_full_context_take_no_memory(tmp_path: Path, window: int | None) -> None:
    changes = {"architectures": ["MistralForCausalLM"], "sliding_window": window} if window else {}
    make_folder(tmp_path / "m", max_position_embeddings=2048, **changes)
    flags = ["--kv", "k4v4:g8", "--context", "1696", "--chunk", "64", "-o", str(tmp_path / "m.byoc")]
    assert main(["compile", str(tmp_path / "m"), "-t", "csource", *flags]) == 0
    command = [sys.executable, "-c", WRITES, str(tmp_path / "m.byoc")]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert found["held"] == [1612]
    tokens = 128 if window else 1696  # the ring holds the window and a chunk
    assert found["cache"] == 2 * 2 * 2 * tokens * (4 + 4)  # layers, heads, sides; data, scale, minimum
    assert found["sizes"][-1] - found["sizes"][0] <= 512  # KiB: half of one for each step would show
