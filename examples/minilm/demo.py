"""Sentence embeddings with MiniLM, compiled by byoc, beside ONNX Runtime.

    python demo.py [--target dnnl,csource] [--sequence 32]

Compiles one artifact, says who has which op and why, loads it, embeds a few sentences, prints how alike they are, and
what another cut would look like.  Ends with exit code 1 if the embeddings differ from ONNX Runtime's by more than 1e-4.
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
from byoc.explain import explain_text, host_text

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


def planned(model: Path, targets: list[str], shape: tuple[int, int], pins: list[str]) -> byoc.Plan:
    """Who has which op, when both inputs have this shape."""
    return byoc.partition(model, targets, pins=pins, shapes={"input_ids": shape, "attention_mask": shape})


def compiled(plan: byoc.Plan, artifact: Path) -> None:
    """Compile, save, and print what became of the plan."""
    start = time.perf_counter()
    made = byoc.compile(plan)
    made.save(artifact)
    print(f"compiled into {artifact.name} in {time.perf_counter() - start:.1f} s\n")
    print(explain_text(byoc.Plan.from_json(made.plan_json)))


def print_other_cut(model: Path, targets: list[str], shape: tuple[int, int]) -> None:
    """What the plan would be without the targets for two kinds of op: every cut has its reasons."""
    pins = ["op:Softmax=host", "op:Erf=host"]
    plan = planned(model, targets, shape, pins)
    print(f"\nThe same model, with {' and '.join(pins)}:\n\n{host_text(plan)}\n\n{plan.summary()}")


def print_similarities(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Cosine of every pair, the most alike first; embeddings have length 1."""
    pairs = [(i, j) for i in range(len(ours)) for j in range(i)]
    pairs.sort(key=lambda pair: -float(ours[pair[0]] @ ours[pair[1]]))
    print("\n  byoc  onnxruntime")
    for i, j in pairs:
        print(f"{ours[i] @ ours[j]:6.3f}  {theirs[i] @ theirs[j]:11.3f}  {SENTENCES[j]} | {SENTENCES[i]}")


def main() -> int:
    parser = argparse.ArgumentParser(description="MiniLM sentence embeddings through byoc")
    usable = {t.name for t in byoc.list_targets() if t.available}
    preferred = ",".join(name for name in ("dnnl", "csource") if name in usable)
    parser.add_argument("--target", default=preferred, help="codegens in order of priority, separated by commas")
    parser.add_argument("--pin", action="append", default=[], help="such as op:Softmax=host (repeatable)")
    parser.add_argument("--sequence", type=int, default=32, help="tokens per sentence, with padding")
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent / "build", help="for model and artifact")
    arguments = parser.parse_args()
    model, artifact = arguments.folder / "minilm.onnx", arguments.folder / "minilm.byoc"
    if not model.exists():
        print("building minilm.onnx from the trained weights")
        write(model)
    inputs = tokenized(SENTENCES, arguments.sequence)
    targets, shape = arguments.target.split(","), inputs["input_ids"].shape
    print("compiling minilm.onnx")
    compiled(planned(model, targets, shape, arguments.pin), artifact)

    with byoc.load(artifact) as session:
        ours = session.run(inputs)["embedding"]
        theirs = onnxruntime.InferenceSession(str(model)).run(["embedding"], inputs)[0]
        print_similarities(ours, theirs)
    error = float(np.abs(ours - theirs).max())
    if not arguments.pin:
        print_other_cut(model, targets, shape)
    print(f"\nlargest difference of an embedding from ONNX Runtime's: {error:.2g}")
    return 0 if error <= TOLERANCE else 1


if __name__ == "__main__":
    raise SystemExit(main())
