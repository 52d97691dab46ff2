"""A codegen that builds something at first inference finds it again, in other processes too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import byoc
from byoc import Cache, Codegen, op, register_codegen
from tests.host.modules import dag

KEY = Cache.key("an engine that scales by 3")
SCALE = f"""
static float engine_factor(void) {{
  char folder[4096], path[4200];
  float factor = 0;
  int kept = byoc_engine_dir("engineer", "{KEY}", folder, sizeof folder) == 0;
  FILE *file = NULL;
  if (kept) {{
    snprintf(path, sizeof path, "%s/factor", folder);
    file = fopen(path, "rb");
  }}
  if (file == NULL || fread(&factor, sizeof factor, 1, file) != 1) {{
    factor = 3;
    fprintf(stderr, "engine built\\n");
    if (kept) byoc_engine_keep(folder, "factor", &factor, sizeof factor);
  }}
  if (file != NULL) fclose(file);
  return factor;
}}
"""
RUN = """
import sys, byoc, numpy as np
ones = np.ones((4, 8), "float32")
print(byoc.load(sys.argv[1]).run({"x": ones, "y": ones})["output"][0, 0])
"""


@register_codegen("engineer", version="1")
class Engineer(Codegen):
    """Multiplies by a number that it keeps in a file."""

    headers = ["byoc_engine.h"]
    patterns = {"relu": op("nn.relu")("x")}

    def emit_match(self, m: byoc.Match) -> str:
        m.helper(SCALE)
        loop = f"for (int i = 0; i < {m.out.size}; ++i) {m.out}[i] = {m['x']}[i] * factor;"
        return f"float factor = engine_factor(); {loop}"


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("engine") / "model.byoc"
    byoc.compile(dag([("relu", [-1])], [0]), ["engineer"], use_cache=False).save(path)
    return path


def start(artifact: Path, cache: Path) -> subprocess.Popen[str]:
    environment = {"PATH": "/usr/bin:/bin", "BYOC_CACHE_DIR": str(cache)}
    command = [sys.executable, "-c", RUN, str(artifact)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_an_engine_is_built_at_first_inference_and_found_by_later_processes(artifact: Path, tmp_path: Path) -> None:
    together = [start(artifact, tmp_path) for _ in range(2)]
    told = [process.communicate(timeout=120) for process in together]
    assert [out for out, _ in told] == ["3.0\n", "3.0\n"] and any("engine built" in err for _, err in told)
    folder = Cache(tmp_path).engine_dir("engineer", KEY)
    assert [file.name for file in folder.iterdir()] == ["factor"]
    (folder / "factor").write_bytes(np.float32(5).tobytes())
    assert start(artifact, tmp_path).communicate(timeout=120) == ("5.0\n", "")


def test_without_a_folder_it_is_built_anew(artifact: Path, tmp_path: Path) -> None:
    (tmp_path / "engines").write_text("in the way")
    for _ in range(2):
        out, err = start(artifact, tmp_path).communicate(timeout=120)
        assert out == "3.0\n" and "engine built" in err


def test_what_a_codegen_keeps_while_it_compiles_is_in_the_folder_that_was_asked_for(tmp_path: Path) -> None:
    @register_codegen("keeper", version="1")
    class Keeper(Engineer):
        def check(self, m: byoc.Match) -> None:
            return None

        def emit_match(self, m: byoc.Match) -> str:
            (Cache().engine_dir("keeper", KEY) / "made").touch()
            return super().emit_match(m)

    byoc.compile(dag([("relu", [-1])], [0]), ["keeper"], cache_dir=tmp_path, use_cache=False)
    assert (tmp_path / "engines" / "keeper" / KEY / "made").exists()
