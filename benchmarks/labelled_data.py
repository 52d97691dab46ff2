"""Trained classifiers with labelled data: those of the folder of shared models, and a CNN for scikit-learn's digits."""

from __future__ import annotations

import gzip
import io
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import onnx

BATCH = 64


@dataclass(frozen=True)
class Classifier:
    """A model, the batch that calibrates it, and other samples with labels.

    `allowed` is how many points of top-1 int8 may lose.
    """

    name: str
    model: onnx.ModelProto
    calibration: dict[str, np.ndarray]
    samples: np.ndarray
    labels: np.ndarray
    allowed: float

    @property
    def input(self) -> str:
        """Name of the only input."""
        return next(iter(self.calibration))


def shared_models() -> Path:
    """``$BYOC_SHARED/models``, else ``../shared/models`` beside the repository."""
    folder = os.environ.get("BYOC_SHARED", Path(__file__).resolve().parents[2] / "shared")
    return Path(folder) / "models"


def classifiers(samples: int = 1_000_000) -> dict[str, Callable[[], Classifier]]:
    """How to make each classifier, by name, with at most so many samples."""
    folder = shared_models()
    made: dict[str, Callable[[], Classifier]] = {"digits": lambda: _digits(samples)}
    tables = {
        "mnist-models/wonnx_opt-mnist.onnx": (_mnist, 0.5),
        "mnist-models/winml_mnist.onnx": (_mnist, 0.5),
        "cifar10-resnet/resnet20_cifar10.onnx": (_cifar_normalised, 0.5),
        "cifar10-resnet/resnet56_cifar10.onnx": (_cifar_normalised, 0.5),
        "mlperf-tiny/pretrainedResnet.onnx": (_cifar_raw, 0.5),
        "mobilenetv2-int8/mobilenetv2_dequant_fp32.onnx": (_imagenet, 1.0),
    }
    for file, (data, allowed) in tables.items():
        path = folder / file
        if path.is_file():
            made[path.stem] = lambda path=path, data=data, allowed=allowed: _from_file(path, data, allowed, samples)
    return made


def _from_file(path: Path, data: Callable[[], tuple[np.ndarray, np.ndarray]], allowed: float, count: int) -> Classifier:
    model = onnx.load(path)
    images, labels = data()
    weights = {tensor.name for tensor in model.graph.initializer}
    name = next(value.name for value in model.graph.input if value.name not in weights)
    end = BATCH + count
    return Classifier(path.stem, model, {name: images[:BATCH]}, images[BATCH:end], labels[BATCH:end], allowed)


def _shuffled(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.random.default_rng(0).permutation(len(labels))
    return images[order], labels[order]


@lru_cache(maxsize=1)
def _mnist() -> tuple[np.ndarray, np.ndarray]:
    folder = shared_models() / "mnist-data"
    images = gzip.decompress((folder / "t10k-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((folder / "t10k-labels-idx1-ubyte.gz").read_bytes())
    pixels = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 1, 28, 28).astype("float32")
    return _shuffled(pixels, np.frombuffer(labels, np.uint8, offset=8).astype("int64"))


@lru_cache(maxsize=1)
def _cifar() -> tuple[np.ndarray, np.ndarray]:
    from PIL import Image

    with zipfile.ZipFile(shared_models() / "cifar10-data" / "cifar10_test_dev.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
        classes = sorted({name.split("/")[0] for name in names})
        images = np.stack([np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB")) for name in names])
    return _shuffled(images, np.array([classes.index(name.split("/")[0]) for name in names]))


def _cifar_raw() -> tuple[np.ndarray, np.ndarray]:
    images, labels = _cifar()
    return images.astype("float32"), labels


def _normalised(images: np.ndarray) -> np.ndarray:
    mean, deviation = np.array([0.485, 0.456, 0.406], "float32"), np.array([0.229, 0.224, 0.225], "float32")
    return ((images.astype("float32") / 255 - mean) / deviation).transpose(0, 3, 1, 2).copy()


def _cifar_normalised() -> tuple[np.ndarray, np.ndarray]:
    images, labels = _cifar()
    return _normalised(images), labels


@lru_cache(maxsize=1)
def _imagenet() -> tuple[np.ndarray, np.ndarray]:
    from PIL import Image

    folder = shared_models() / "imagenet-samples"
    rows = [line.split("\t") for line in (folder / "labels.tsv").read_text().splitlines()[1:]]
    images, labels = [], []
    for file, index in ((row[0], int(row[1])) for row in rows if (folder / row[0]).is_file()):
        image = Image.open(folder / file).convert("RGB")
        scale = 256 / min(image.size)
        image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR)
        left, top = (image.width - 224) // 2, (image.height - 224) // 2
        images.append(np.asarray(image.crop((left, top, left + 224, top + 224))))
        labels.append(index)
    order = np.random.default_rng(0).permutation(len(labels))
    return _normalised(np.stack(images)[order]), np.array(labels)[order]


def _digits(count: int) -> Classifier:
    from benchmarks.digits import digits_model

    model, images, labels = digits_model()
    end = BATCH + count
    return Classifier("digits", model, {"image": images[:BATCH]}, images[BATCH:end], labels[BATCH:end], 0.5)
