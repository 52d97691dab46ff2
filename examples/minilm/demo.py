"""Sentence embeddings with MiniLM, compiled by byoc, beside ONNX Runtime.

    python demo.py [--target csource] [--sequence 32]

Plans the model, says why each host op is on the host, compiles one artifact, loads it, embeds a few sentences, and
prints how alike they are.  Ends with exit code 1 if the embeddings differ from ONNX Runtime's by more than 1e-4.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import onnxruntime
from build_onnx import model_folder, write
from tokenizers import Tokenizer

import byoc
from byoc.explain import explain_text

SENTENCES = [
    "A man is eating pasta.",
    "Someone is having a meal.",
    "The stock market fell sharply today.",
    "Shares dropped as investors sold.",
    "How do I install a new graphics card?",
    "Steps for putting a GPU into a computer.",
]
TOLERANCE = 1e-4


def tokenized(sentences: list[str], length: int) -> dict[str, np.ndarray]:
    """Token ids and mask, int64 [sentences, length], padded or cut."""
    tokenizer = Tokenizer.from_file(str(model_folder() / "tokenizer.json"))
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length)
    encoded = tokenizer.encode_batch(sentences)
    return {
        "input_ids": np.array([one.ids for one in encoded], np.int64),
        "attention_mask": np.array([one.attention_mask for one in encoded], np.int64),
    }


def compiled(model: Path, artifact: Path, targets: list[str], shape: tuple[int, int]) -> None:
    """Plan, explain, compile and save."""
    plan = byoc.partition(model, targets, shapes={"input_ids": shape, "attention_mask": shape})
    print(f"\n{explain_text(plan)}\n")
    start = time.perf_counter()
    byoc.compile(plan).save(artifact)
    print(f"compiled into {artifact.name} in {time.perf_counter() - start:.1f} s")


def print_similarities(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Cosine of every pair, the most alike first; embeddings have length 1."""
    pairs = [(i, j) for i in range(len(ours)) for j in range(i)]
    pairs.sort(key=lambda pair: -float(ours[pair[0]] @ ours[pair[1]]))
    print("\n  byoc  onnxruntime")
    for i, j in pairs:
        print(f"{ours[i] @ ours[j]:6.3f}  {theirs[i] @ theirs[j]:11.3f}  {SENTENCES[j]} | {SENTENCES[i]}")


def main() -> int:
    parser = argparse.ArgumentParser(description="MiniLM sentence embeddings through byoc")
    parser.add_argument("--target", default="csource", help="codegens in order of priority, separated by commas")
    parser.add_argument("--sequence", type=int, default=32, help="tokens per sentence, with padding")
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent / "build", help="for model and artifact")
    arguments = parser.parse_args()
    model, artifact = arguments.folder / "minilm.onnx", arguments.folder / "minilm.byoc"
    if not model.exists():
        print("building minilm.onnx from the trained weights")
        write(model)
    inputs = tokenized(SENTENCES, arguments.sequence)
    compiled(model, artifact, arguments.target.split(","), inputs["input_ids"].shape)

    with byoc.load(artifact) as session:
        ours = session.run(inputs)["embedding"]
        theirs = onnxruntime.InferenceSession(str(model)).run(["embedding"], inputs)[0]
        print_similarities(ours, theirs)
    error = float(np.abs(ours - theirs).max())
    print(f"\nlargest difference of an embedding from ONNX Runtime's: {error:.2g}")
    return 0 if error <= TOLERANCE else 1


if __name__ == "__main__":
    raise SystemExit(main())
