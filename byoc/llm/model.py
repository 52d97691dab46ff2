"""A language model to plan and compile, from a Hugging Face folder or an ONNX file with its past as inputs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tvm

from byoc.cache import Cache
from byoc.errors import ArtifactError, ModelFileError, ToolchainError, UsageError
from byoc.llm.calibrate import needs_calibration, scales_needed
from byoc.llm.calibration_cache import calibrated
from byoc.llm.checkpoint import Checkpoint
from byoc.llm.config import ModelConfig, read_config
from byoc.llm.graph import build_module
from byoc.llm.kv_spec import check_fits
from byoc.llm.layers import ModelWeights
from byoc.llm.settings import Settings
from byoc.llm.tensors import ModelTensors
from byoc.llm.tokenizer import Tokenizer

TOKENIZER = "tokenizer.json"


@dataclass(frozen=True)
class LanguageModel:
    """A module with the entry functions prefill, decode and score, and what running it takes.

    Attributes
    ----------
    config: of a folder; None for an ONNX file.
    facts: for the manifest, what running it takes beside the functions: context, chunk, batch, begin and end tokens.
    tokenizer: the content of ``tokenizer.json``, or empty.
    """

    name: str
    digest: str
    module: tvm.IRModule
    config: ModelConfig | None
    settings: Settings
    facts: Mapping[str, Any]
    tokenizer: bytes = b""


def is_model_folder(source: Any) -> bool:
    """Whether `source` is the path of a folder with a ``config.json``."""
    return isinstance(source, (str, Path)) and (Path(source) / "config.json").is_file()


def language_model(source: str | Path, settings: Settings | None = None, cache: Cache | None = None) -> LanguageModel:
    """Read a folder with ``config.json``, safetensors and perhaps ``tokenizer.json``, or an ONNX file.

    An ONNX model has keys and values of the past among its inputs; ``tokenizer.json``, and the beginning and end of
    texts (``genai_config.json`` or ``config.json``), are looked for beside it.

    What a calibration text gives, layers by AWQ and scales of caches, is looked up in `cache`, and kept there.

    Raises
    ------
    ModelFileError, UnsupportedModelError: the folder or file does not hold a model that byoc builds.
    UsageError: the settings do not fit the model, or need a calibration text.
    """
    folder, settings = Path(source), settings or Settings()
    if not folder.is_dir():
        return _from_onnx(folder, settings)
    config = read_config(folder, settings.context)
    settings = _checked(config, settings)
    checkpoint = Checkpoint(folder)
    files = _files_digest(folder, checkpoint)
    digest = hashlib.sha256(f"{files}{settings!r}{_ids_digest(settings.calibration)}".encode()).hexdigest()
    tensors = ModelTensors(config, checkpoint)
    settings = replace(settings, fixed_scales=calibrated(tensors, settings, files, cache))
    facts = _facts(config, settings)
    module = build_module(config, ModelWeights(tensors, settings.weights), settings, facts)
    return LanguageModel(folder.resolve().name, digest, module, config, settings, facts, _tokenizer(folder))


def _from_onnx(path: Path, settings: Settings) -> LanguageModel:
    from byoc.llm.from_onnx.model import module_of  # imports TVM's compiler

    module, digest, settings, facts = module_of(path, settings)
    return LanguageModel(path.stem, digest, module, None, settings, facts, _tokenizer(path.parent))


def _tokenizer(folder: Path) -> bytes:
    """The content of ``tokenizer.json``, seen to be one where the package that reads it is there."""
    path = folder / TOKENIZER
    if not path.is_file():
        return b""
    content = path.read_bytes()
    try:
        Tokenizer(content)
    except ToolchainError:
        pass
    except ArtifactError as error:
        raise ModelFileError(
            f"{path} is no tokenizer",
            error.why,
            "download it again, pip install --upgrade tokenizers, or remove the file and give token ids",
        ) from None
    return content


def _checked(config: ModelConfig, settings: Settings) -> Settings:
    settings = settings.sized(config.longest)
    if isinstance(settings.kv, tuple) and len(settings.kv) != config.layers:
        raise UsageError(f"{len(settings.kv)} cache specifications are given, the model has {config.layers} layers")
    for layer in range(config.layers):
        check_fits(settings.kv_of(layer), config.head_dim)
    if not needs_calibration(config, settings):
        settings = replace(settings, calibration=())  # what nothing needs makes no other artifact
    return settings


def _facts(config: ModelConfig, settings: Settings) -> dict[str, Any]:
    facts = {
        "architecture": config.architecture, "vocabulary": config.vocabulary, "layers": config.layers,
        "kv_heads": config.kv_heads, "head_dim": config.head_dim, "begin": config.begin, "end": list(config.end),
        "context": settings.context, "chunk": settings.chunk, "batch": settings.batch, "kv": settings.kv_text,
        "weights": f"{config.packed}, others {settings.weights}" if config.packed else str(settings.weights),
        "weight_bits": config.packed.bits if config.packed else settings.weights.bits,
        "windows": list(config.windows),
    }  # fmt: skip
    if settings.calibration:
        facts["calibration"] = {"tokens": len(settings.calibration), "sha256": _ids_digest(settings.calibration)}
    if scales_needed(config, settings):
        facts["fixed_scales"] = [[[f.scale, f.minimum] for f in pair] for pair in settings.fixed_scales]
    return facts


def _ids_digest(ids: tuple[int, ...]) -> str:
    return hashlib.sha256(np.asarray(ids, "<i8").tobytes()).hexdigest()


def _files_digest(folder: Path, checkpoint: Checkpoint) -> str:
    digest = hashlib.sha256()
    for path in (folder / "config.json", *checkpoint.files):
        with open(path, "rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
    return digest.hexdigest()
