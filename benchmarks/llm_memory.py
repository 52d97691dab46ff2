"""What reading a long text takes in memory, and whether a full cache stays as it is while a model goes on writing.

    python -m benchmarks.llm_memory [--context 4096] [--chunks 256,4096] [--tokens 1000] [--kv k4v4:g32]

The model is that of ``benchmarks.llm``, and a copy of it with a sliding window for the second question: a session
without a window ends where its context is full.  Every row is a process of its own.
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


def compiled(folder: Path, name: str, context: int, chunk: int, kv: str) -> Path:
    """The model compiled for csource, with a window of its own where the folder says so."""
    from byoc.cli import main as byoc

    path = FOLDER / f"{name}-{context}-{chunk}-{kv}.byoc".replace(":", "_")
    if not path.is_file():
        flags = ["--kv", kv, "--weights", "rtn4:g32", "--context", str(context), "--chunk", str(chunk)]
        code = byoc(["compile", str(folder), "-t", "csource", *flags, "-o", str(path)])
        if code:
            sys.exit(code)
    return path


def windowed(folder: Path, window: int) -> Path:
    """The same weights as a Mistral whose layers see `window` tokens."""
    twin = FOLDER / f"mistral-{window}"
    twin.mkdir(parents=True, exist_ok=True)
    config = json.loads((folder / "config.json").read_text())
    config |= {"architectures": ["MistralForCausalLM"], "sliding_window": window}
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
    """Read a text; the resident set before, and at its peak."""
    from byoc.llm import load

    session = load(path)
    session.decode([1])
    session.reset()
    before = resident("VmRSS")
    session.prefill([1 + i % 1000 for i in range(tokens)])
    return {"before": before, "peak": resident("VmHWM"), "cache": session.cache.nbytes}


def go_on(path: str, tokens: int) -> dict[str, float]:
    """Fill the window, then write: the resident set and the time per token, at first and at last."""
    from byoc.llm import load

    session = load(path)
    session.prefill([1 + i % 1000 for i in range(session.context - tokens - 10)])
    session.decode([1])
    before, seconds = resident("VmRSS"), []
    for i in range(tokens):
        begin = time.perf_counter()
        session.decode([1 + i % 1000])
        seconds.append(time.perf_counter() - begin)
    after = resident("VmRSS")
    first, last = median(seconds[:100]), median(seconds[-100:])
    return {"before": before, "after": after, "first_s": first, "last_s": last, "cache": session.cache.nbytes}


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
    parser.add_argument("--context", type=int, default=4096)
    parser.add_argument("--chunks", default="256,4096")
    parser.add_argument("--tokens", type=int, default=1000)
    parser.add_argument("--kv", default="k4v4:g32")
    parser.add_argument("--prepare", action="store_true", help="compile only")
    chosen = parser.parse_args()
    folder, kv = model_folder(), chosen.kv
    chunks = [int(c) for c in chosen.chunks.split(",")]
    readers = {c: compiled(folder, "llama", chosen.context, c, kv) for c in chunks}
    window = chosen.context // 2
    writer = compiled(windowed(folder, window), f"mistral-{window}", chosen.context + chosen.tokens + 16, 256, kv)
    if chosen.prepare:
        return
    mib = 1 << 20
    for chunk, path in readers.items():
        m = apart("read", path, chosen.context)
        print(f"read {chosen.context} tokens by {chunk}: {m['before'] / mib:.0f} MiB before, {m['peak'] / mib:.0f} MiB"
              f" at the peak, of which caches {m['cache'] / mib:.1f} MiB")  # fmt: skip
    m = apart("go_on", writer, chosen.tokens)
    print(f"{chosen.tokens} tokens behind a full window of {window}: {m['before'] / mib:.1f} MiB, then "
          f"{m['after'] / mib:.1f}; {m['first_s'] * 1e3:.2f} ms a token, then {m['last_s'] * 1e3:.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
