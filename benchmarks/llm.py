"""Language models beside llama.cpp: ``byoc bench-llm`` on a Llama of 240 M parameters with random weights.

    python -m benchmarks.llm --prepare                 # write the model and compile the artifacts into build/llm
    python -m benchmarks.llm --contexts 128,4096       # measure; everything after the flags here goes to bench-llm
    python -m benchmarks.llm --kv k4v4:g32 --no-rival --contexts 128

llama.cpp takes part where ``llama-cpp-python`` is installed (``pip install "byoc[llama-cpp]"``).
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from byoc import ByocError
from byoc.cli import main as byoc
from byoc.llm import WeightSpec
from byoc.llm.bench.gguf_file import write_gguf

FOLDER = Path("build/llm")
SHAPE = {
    "architectures": ["LlamaForCausalLM"], "hidden_size": 1024, "intermediate_size": 2816, "num_hidden_layers": 16,
    "num_attention_heads": 16, "num_key_value_heads": 4, "vocab_size": 32000, "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip


def model_folder() -> Path:
    """The model in the layout of Hugging Face, float16; written when it is not there."""
    folder = FOLDER / "llama-240m"
    if (folder / "model.safetensors").is_file():
        return folder
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(SHAPE))
    h, f, v = (int(str(SHAPE[k])) for k in ("hidden_size", "intermediate_size", "vocab_size"))
    kv = h // 16 * 4
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens": (v, h), "model.norm": (h,), "lm_head": (v, h)}
    for i in range(16):
        at = f"model.layers.{i}"
        shapes |= {f"{at}.self_attn.{n}_proj": (h if n in "qo" else kv, h) for n in "qkvo"}
        shapes |= {f"{at}.mlp.gate_proj": (f, h), f"{at}.mlp.up_proj": (f, h), f"{at}.mlp.down_proj": (h, f)}
        shapes |= {f"{at}.input_layernorm": (h,), f"{at}.post_attention_layernorm": (h,)}
    random = np.random.default_rng(0)
    tensors = {f"{name}.weight": _tensor(random, shape) for name, shape in shapes.items()}
    partial = folder / "model.partial"
    save_file(tensors, str(partial))
    partial.rename(folder / "model.safetensors")
    return folder


def artifact(folder: Path, kv: str, weights: str, context: int) -> Path:
    """The model compiled for csource; compiled when it is not there."""
    path = FOLDER / f"{kv}-{weights}-{context}.byoc".replace(":", "_")
    if not path.is_file():
        flags = ["--kv", kv, "--weights", weights, "--context", str(context)]
        code = byoc(["compile", str(folder), "-t", "csource", *flags, "-o", str(path)])
        if code:
            sys.exit(code)
    return path


def gguf(folder: Path, weights: str) -> Path:
    """The same model for llama.cpp, with as many bits per weight; written when it is not there."""
    bits = WeightSpec.parse(weights).bits
    path = FOLDER / f"w{bits}.gguf"
    return path if path.is_file() else write_gguf(folder, path, bits)


def _tensor(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    if len(shape) == 1:
        return np.ones(shape, np.float16)
    return (random.standard_normal(shape, np.float32) * shape[-1] ** -0.5).astype(np.float16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kv", default="k4v4:g32,k8v8,k16v16", help="formats of caches to measure")
    parser.add_argument("--weights", default="rtn4:g32")
    parser.add_argument("--context", type=int, default=4224, help="tokens that the caches hold")
    parser.add_argument("--prepare", action="store_true", help="compile only; measure later, on a quiet machine")
    parser.add_argument("--no-rival", action="store_true", help="leave llama.cpp out")
    chosen, rest = parser.parse_known_args()
    folder = model_folder()
    artifacts = [artifact(folder, kv, chosen.weights, chosen.context) for kv in chosen.kv.split(",")]
    try:
        rival = [] if chosen.no_rival else ["--llama-cpp", str(gguf(folder, chosen.weights))]
    except ByocError as error:
        sys.exit(f"{error}\n  or:  --no-rival")
    if not chosen.prepare:
        sys.exit(byoc(["bench-llm", *map(str, artifacts), *rival, *rest]))


if __name__ == "__main__":
    main()
