"""What reading a long text takes in memory, and whether a session stays as it is while a model goes on writing.

    python -m benchmarks.llm_memory --prepare            # compile into build/llm
    python -m benchmarks.llm_memory [--tokens 1000]      # measure; every row is a process of its own

Reading: the peak of the resident set over a prefill of 4096 tokens, by chunks of 256 and in one piece.  Writing: the
resident set and the time per token over 1,000 tokens behind 4096, where the caches have room for them, and where a
sliding window of 2048 has filled its ring.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from benchmarks.llm import FOLDER, model_folder

HELD, CONTEXT, WINDOW = 4096, 5120, 2048
MIB = 1 << 20


def compiled(folder: Path, name: str, chunk: int, kv: str) -> Path:
    """The model compiled for csource; compiled when it is not there."""
    from byoc.cli import main as byoc

    path = FOLDER / f"{name}-{CONTEXT}-{chunk}-{kv}.byoc".replace(":", "_")
    if not path.is_file():
        flags = ["--kv", kv, "--weights", "rtn4:g32", "--context", str(CONTEXT), "--chunk", str(chunk)]
        code = byoc(["compile", str(folder), "-t", "csource", *flags, "-o", str(path)])
        if code:
            sys.exit(code)
    return path


def windowed(folder: Path) -> Path:
    """The first four layers of the same weights as a Mistral whose layers see `WINDOW` tokens."""
    twin = FOLDER / f"mistral-{WINDOW}"
    twin.mkdir(parents=True, exist_ok=True)
    config = json.loads((folder / "config.json").read_text())
    config |= {"architectures": ["MistralForCausalLM"], "sliding_window": WINDOW, "num_hidden_layers": 4}
    (twin / "config.json").write_text(json.dumps(config))
    if not (twin / "model.safetensors").exists():
        (twin / "model.safetensors").symlink_to((folder / "model.safetensors").resolve())
    return twin


def resident(field: str) -> int:
    """Bytes, of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    return 0


def read(path: str, tokens: int) -> dict[str, float]:
    """Read a text; the resident set with all weights and caches touched, and at its peak."""
    from byoc.llm import load

    session = load(path)
    session.decode([1])
    for array in session.cache.state.arrays.values():
        array[...] = 0
    session.reset()
    before = resident("VmRSS")
    session.prefill([1 + i % 1000 for i in range(tokens)])
    return {"before": before, "peak": resident("VmHWM"), "cache": session.cache.nbytes}


def go_on(path: str, tokens: int) -> dict[str, float]:
    """Read `HELD` tokens, then write: the resident set and the time per token, at first and at last."""
    from byoc.llm import load

    session = load(path)
    session.prefill([1 + i % 1000 for i in range(HELD)])
    session.decode([1])
    before, seconds = resident("VmRSS"), []
    for i in range(tokens):
        begin = time.perf_counter()
        session.decode([1 + i % 1000])
        seconds.append(time.perf_counter() - begin)
    found = {"before": before, "after": resident("VmRSS"), "cache": session.cache.nbytes}
    return found | {"first_s": median(seconds[:200]), "last_s": median(seconds[-200:])}


def apart(what: str, path: Path, tokens: int) -> dict[str, float]:
    """Run `read` or `go_on` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.llm_memory", "--inside", what, str(path), str(tokens)]
    found: dict[str, float] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return found


def main() -> None:
    if sys.argv[1:2] == ["--inside"]:
        what, path, tokens = sys.argv[2:]
        print(json.dumps({"read": read, "go_on": go_on}[what](path, int(tokens))))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", default=f"256,{HELD}", help="for reading")
    parser.add_argument("--tokens", type=int, default=1000, help="to write")
    parser.add_argument("--kv", default="k4v4:g32")
    parser.add_argument("--only", choices=["read", "write"], help="one of the two questions")
    parser.add_argument("--prepare", action="store_true", help="compile only")
    chosen = parser.parse_args()
    folder = model_folder()
    readers = {c: compiled(folder, "llama", c, chosen.kv) for c in map(int, chosen.chunks.split(","))}
    writers = {"room for more": compiled(folder, "llama", 256, chosen.kv)}
    writers[f"a window of {WINDOW}, 4 layers"] = compiled(windowed(folder), f"mistral-{WINDOW}", 256, chosen.kv)
    if chosen.prepare:
        return
    if chosen.only != "write":
        for chunk, path in readers.items():
            m = apart("read", path, HELD)
            before, peak, cache = (m[k] / MIB for k in ("before", "peak", "cache"))
            print(f"read {HELD} tokens by {chunk}: {before:.0f} MiB before, {peak:.0f} at the peak, caches {cache:.1f}")
    if chosen.only != "read":
        for name, path in writers.items():
            m = apart("go_on", path, chosen.tokens)
            memory = f"{m['before'] / MIB:.1f} MiB, then {m['after'] / MIB:.1f}"
            times = f"{m['first_s'] * 1e3:.2f} ms a token, then {m['last_s'] * 1e3:.2f}"
            print(f"{chosen.tokens} tokens behind {HELD}, {name}: {memory}; {times}")


if __name__ == "__main__":
    main()
