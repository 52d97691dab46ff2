"""Trains a small Llama on key-value recall, for searches where no trained model is at hand: PyTorch, CPU or GPU.

    pip install torch safetensors
    python examples/pareto/train.py needle-model --context 256 --steps 1600

A sequence is filler with needles "KEY k v w" at random places, then questions "ASK k v w"; what counts is the answers
v w.  It begins with 32 tokens full of needles and questions, where heads that look for the same key form within
a few hundred steps, and doubles their number when nine of ten answers are right.  The folder gets
config.json and model.safetensors in the layout of Hugging Face, eval.npz for the task `recall`, calibrate.npy for
--calibrate, and training.json: how it was trained, and how well it recalls.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812, the field's name for it
from safetensors.torch import save_file
from torch import Tensor, nn

BEGIN, KEY, ASK = 1, 2, 4
SLOT = 4  # tokens of a needle, or of a question with its answer
KEYS, VALUES, FILLER, VOCABULARY = (64, 128), (128, 192), (192, 320), 320
THETA, EPSILON = 1000.0, 1e-5
SHORTEST = 32  # tokens of the sequences that training begins with


@dataclass(frozen=True)
class Shape:
    """Of the model; heads share keys and values in groups."""

    hidden: int = 128
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    intermediate: int = 352

    @property
    def head_dim(self) -> int:
        return self.hidden // self.heads


def sequences(random: np.random.Generator, rows: int, length: int, needles: int, questions: int) -> tuple:
    """int64[rows, length], and bool[rows, length] that marks the tokens of the answers."""
    ids = random.integers(*FILLER, (rows, length))
    answers = np.zeros((rows, length), bool)
    ids[:, 0] = BEGIN
    room = (length - 1) // SLOT - questions
    for i in range(rows):
        keys = random.permutation(np.arange(*KEYS))[:needles]
        values = random.integers(*VALUES, (needles, 2))
        for place, key, pair in zip(random.permutation(room)[:needles], keys, values, strict=True):
            ids[i, 1 + SLOT * place : 1 + SLOT * (place + 1)] = KEY, key, *pair
        # A key may be asked twice: else the last answers are those that were not given yet, whatever the key.
        for j, which in enumerate(random.integers(needles, size=questions)):
            at = length - SLOT * (questions - j)
            ids[i, at : at + SLOT] = ASK, keys[which], *values[which]
            answers[i, at + 2 : at + SLOT] = True
    return ids, answers


class Block(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width, kv = shape.hidden, shape.kv_heads * shape.head_dim
        self.shape = shape
        self.input_layernorm, self.post_attention_layernorm = (nn.RMSNorm(width, EPSILON) for _ in range(2))
        sizes = {"q_proj": (width, width), "k_proj": (width, kv), "v_proj": (width, kv), "o_proj": (width, width)}
        self.self_attn = nn.ModuleDict({n: nn.Linear(*size, bias=False) for n, size in sizes.items()})
        inner = shape.intermediate
        sizes = {"gate_proj": (width, inner), "up_proj": (width, inner), "down_proj": (inner, width)}
        self.mlp = nn.ModuleDict({n: nn.Linear(*size, bias=False) for n, size in sizes.items()})

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        y = self.input_layernorm(x)
        q, k, v = (
            self.self_attn[n](y).unflatten(-1, (-1, self.shape.head_dim)).transpose(1, 2)
            for n in ("q_proj", "k_proj", "v_proj")
        )
        q, k = (t * cosine + torch.cat((-t[..., t.shape[-1] // 2 :], t[..., : t.shape[-1] // 2]), -1) * sine
                for t in (q, k))  # fmt: skip
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        x = x + self.self_attn["o_proj"](mixed.transpose(1, 2).flatten(2))
        y = self.post_attention_layernorm(x)
        return x + self.mlp["down_proj"](F.silu(self.mlp["gate_proj"](y)) * self.mlp["up_proj"](y))


class Llama(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embed_tokens = nn.Embedding(VOCABULARY, shape.hidden)
        self.layers = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.RMSNorm(shape.hidden, EPSILON)
        self.lm_head = nn.Linear(shape.hidden, VOCABULARY, bias=False)
        for matrix in (p for p in self.parameters() if p.dim() > 1):
            nn.init.normal_(matrix, std=0.02 if matrix.shape[0] == VOCABULARY else matrix.shape[1] ** -0.5 / 2)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed_tokens(ids)
        frequencies = THETA ** (-torch.arange(0, self.shape.head_dim, 2, device=x.device) / self.shape.head_dim)
        angles = torch.outer(torch.arange(ids.shape[1], device=x.device), frequencies).repeat(1, 2)
        for block in self.layers:
            x = block(x, angles.cos(), angles.sin())
        return self.lm_head(self.norm(x))


def lengths_up_to(context: int) -> list[int]:
    """Halvings of the context down to 32 or so, the shortest first: short sequences are learnt first."""
    return sorted({max(context >> i, min(context, SHORTEST)) for i in range(12)})


@dataclass(frozen=True)
class Effort:
    """How long to train: `steps`, the same model each time on one machine, or `minutes` where they are 0.

    `rows` of SHORTEST tokens are a batch, and as many tokens of longer ones.  `rate` is the largest learning rate.
    """

    minutes: float
    steps: int
    rows: int
    rate: float

    def gone(self, steps: int, seconds: float) -> float:
        """The part of it that is over."""
        return steps / self.steps if self.steps else seconds / 60 / self.minutes


def train(model: Llama, context: int, effort: Effort, device: str) -> int:
    """The number of steps."""
    random, lengths = np.random.default_rng(0), lengths_up_to(context)
    optimiser = torch.optim.AdamW(model.parameters(), lr=effort.rate, betas=(0.9, 0.98), weight_decay=0.01)
    begin, steps, level, recent = time.monotonic(), 0, 0, [0.0] * 100
    while (gone := effort.gone(steps, time.monotonic() - begin)) < 1:
        # Every other batch is of a length that was learnt before, so that it is not forgotten.
        length = lengths[int(random.integers(level + 1))] if steps % 2 else lengths[level]
        needles = min((length - 1) // SLOT // 2, 8)
        ids, answers = sequences(random, max(effort.rows * SHORTEST // length, 4), length, needles, needles)
        tokens, marked = torch.from_numpy(ids).to(device), torch.from_numpy(answers).to(device)
        for group in optimiser.param_groups:
            group["lr"] = effort.rate * min(1.0, (steps + 1) / 100, max(4 * (1 - gone), 0.02))
        logits = model(tokens[:, :-1])[marked[:, 1:]]
        loss = F.cross_entropy(logits, tokens[marked])
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        steps += 1
        recent = [*recent[1:], float((logits.argmax(-1) == tokens[marked]).float().mean())]
        if steps % 100 == 0:
            print(f"step {steps}, {length} tokens: loss {loss.item():.3f}, right {np.mean(recent):.3f}", flush=True)
        if np.mean(recent) > 0.9 and level + 1 < len(lengths):
            level, recent = level + 1, [0.0] * 100
    return steps


@torch.no_grad()
def recall(model: Llama, ids: np.ndarray, answers: np.ndarray, device: str) -> float:
    """Share of answer tokens that are ranked first."""
    tokens, marked = torch.from_numpy(ids).to(device), torch.from_numpy(answers).to(device)
    right = [model(t[None, :-1])[0][m[1:]].argmax(-1) == t[m] for t, m in zip(tokens, marked, strict=True)]
    return float(torch.cat(right).float().mean())


def save(model: Llama, folder: Path, context: int) -> None:
    """In the layout of Hugging Face."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {(n if n.startswith("lm_head") else f"model.{n}"): t.contiguous() for n, t in model.state_dict().items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    shape = model.shape
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate, "num_hidden_layers": shape.layers, "head_dim": shape.head_dim,
        "num_attention_heads": shape.heads, "num_key_value_heads": shape.kv_heads, "vocab_size": VOCABULARY,
        "rms_norm_eps": EPSILON, "rope_theta": THETA, "hidden_act": "silu", "max_position_embeddings": context,
        "tie_word_embeddings": False, "bos_token_id": BEGIN, "eos_token_id": 0, "torch_dtype": "float32",
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--context", type=int, default=256, help="longest sequences, in tokens")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long to train")
    parser.add_argument("--steps", type=int, default=0, help="how long to train, in the place of --minutes")
    parser.add_argument("--rows", type=int, default=64, help="sequences of 32 tokens in a batch; fewer longer ones")
    parser.add_argument("--rate", type=float, default=2e-3, help="largest learning rate")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    for name, value in asdict(Shape()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=value)
    chosen = parser.parse_args()
    shape = Shape(**{name: getattr(chosen, name) for name in asdict(Shape())})
    if shape.hidden % shape.heads or shape.heads % shape.kv_heads or shape.head_dim % 2 or chosen.context < 32:
        parser.error("heads must divide hidden evenly, kv-heads heads, and the context has 32 tokens or more")
    torch.manual_seed(0)
    model = Llama(shape).to(chosen.device)
    begin = time.monotonic()
    effort = Effort(chosen.minutes, chosen.steps, chosen.rows, chosen.rate)
    steps = train(model, chosen.context, effort, chosen.device)
    seconds = time.monotonic() - begin
    save(model, chosen.folder, chosen.context)
    random, arrays, right = np.random.default_rng(1), {}, {}
    for length in lengths_up_to(chosen.context):
        most = max((length - 1) // SLOT // 4, 2)
        ids, answers = sequences(random, 32, length, min(most, 8), min(most, 2))
        arrays |= {f"ids_{length}": ids.astype(np.int16), f"answer_{length}": answers}
        right[str(length)] = round(recall(model, ids, answers, chosen.device), 4)
    np.savez(chosen.folder / "eval.npz", **arrays)
    ids, _ = sequences(random, max(math.ceil(2048 / chosen.context), 1), chosen.context, 2, 2)
    np.save(chosen.folder / "calibrate.npy", ids.reshape(-1))
    figures = {
        **asdict(shape), "parameters": sum(p.numel() for p in model.parameters()), "steps": steps,
        "seconds": round(seconds), "device": chosen.device, "torch": torch.__version__, "recall": right,
    }  # fmt: skip
    (chosen.folder / "training.json").write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
