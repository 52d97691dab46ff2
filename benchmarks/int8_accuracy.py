"""Top-1 accuracy of float and int8 classifiers, calibrated with one batch.

python benchmarks/int8_accuracy.py                                  every classifier, one table at the end
python benchmarks/int8_accuracy.py --only digits,resnet20_cifar10   some
python benchmarks/int8_accuracy.py --json figures.json              cut short, the same command goes on from there
python benchmarks/int8_accuracy.py --json figures.json --show       the table of an earlier run

int8 by byoc's observers, by ONNX Runtime's static quantiser on the same batch (in its own form, QDQ), all run by ONNX
Runtime; and byoc's default as integer-only C (csource) and on oneDNN's integers (dnnl), with how far their layers are
from the reference's.  Calibration samples are not among those that are counted.  Needs the extra ``bench``.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import onnx.version_converter

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import byoc
from benchmarks.int8_layers import Comparison, compared, fixed_batch
from benchmarks.labelled_data import Classifier, classifiers

SAMPLES, ALLOWED, FLOAT, DEFAULT = "samples", "int8 may lose", "float", "mse"
COMPARED = 8  # samples on which layers are compared, where the model does not fix how many
Run = Callable[[np.ndarray], np.ndarray]
Figures = dict[str, dict[str, float]]
VARIANTS: dict[str, dict[str, object]] = {
    DEFAULT: {},
    "klj": {"method": "klj"},
    "klj, biases corrected": {"method": "klj", "bias_correction": True},
    "minmax": {"method": "minmax"},
    "percentile": {"method": "percentile"},
    "mse, per tensor": {"per_channel": False},
    "klj, per tensor": {"method": "klj", "per_channel": False},
    "minmax, per tensor": {"method": "minmax", "per_channel": False},
    "mse, powers of two": {"power_of_two": True},
    "klj, powers of two": {"method": "klj", "power_of_two": True},
    "mse, channels of one range": {"equalize": True},
    "minmax, channels as they are": {"method": "minmax", "equalize": False},
}


# Not of accuracy: layers of the default against the integer reference.
OF_LAYERS: dict[str, Callable[[Comparison], float]] = {
    "dnnl: layers": lambda c: len(c.layers),
    "dnnl: % of a layer's elements one step off, the most": lambda c: (
        100 * max(n.one_off / n.elements for n in c.layers)
    ),
    "dnnl: elements further off": lambda c: sum(layer.further_off for layer in c.layers),
    "integer-only C: outputs off by, relative": lambda c: c.csource,
}


def onnxruntime_runner(model: onnx.ModelProto) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: session.run(None, {name: x})[0]


def byoc_runner(model: onnx.ModelProto, x: np.ndarray, target: str) -> Run:
    name = model.graph.input[0].name
    artifact = byoc.compile(model, [target], shapes={name: x.shape}, use_cache=False)
    session = byoc.Session(artifact)
    return lambda x: next(iter(session.run({name: x}).values()))


def accuracy(run: Run, classifier: Classifier, batch: int) -> float:
    """Top-1 in percent."""
    hits, count = 0, counted(classifier, batch)
    for start in range(0, count, batch):
        scores = np.asarray(run(classifier.samples[start : start + batch])).reshape(batch, -1)
        hits += int((scores.argmax(1) == classifier.labels[start : start + batch]).sum())
    return 100.0 * hits / count


def batch_of(classifier: Classifier) -> int:
    """What the model fixes, else 50 samples."""
    dim = classifier.model.graph.input[0].type.tensor_type.shape.dim[0]
    return dim.dim_value if dim.dim_value > 0 else min(50, len(classifier.labels))


def counted(classifier: Classifier, batch: int) -> int:
    """Samples in whole batches."""
    return len(classifier.labels) // batch * batch


def onnxruntime_quantised(classifier: Classifier, batch: int) -> onnx.ModelProto:
    """ONNX Runtime's static quantiser on the same batch: u8 activations, s8 weights per channel."""
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    name, data = classifier.input, classifier.calibration[classifier.input]

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.batches = iter([{name: data[i : i + batch]} for i in range(0, len(data), batch)])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.batches, None)

    with tempfile.TemporaryDirectory() as folder:
        source, prepared, result = (str(Path(folder) / f"{n}.onnx") for n in ("source", "prepared", "result"))
        old = min(o.version for o in classifier.model.opset_import if o.domain in ("", "ai.onnx")) < 13
        onnx.save(onnx.version_converter.convert_version(classifier.model, 13) if old else classifier.model, source)
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        try:
            quantize_static(prepared, result, Reader(), per_channel=True, weight_type=QuantType.QInt8)
        except ValueError:  # 1.32 fails where a bias's scale has to be adjusted for each channel
            quantize_static(prepared, result, Reader(), per_channel=False, weight_type=QuantType.QInt8)
        return onnx.load(result)


def measurements(classifier: Classifier) -> dict[str, Callable[[], float]]:
    """What is in each row of the table, in order; nothing is done before it is called."""
    batch = batch_of(classifier)

    @functools.cache
    def quantised(row: str = DEFAULT) -> onnx.ModelProto:
        return byoc.quantize(classifier.model, classifier.calibration, **VARIANTS[row]).proto

    @functools.cache
    def layers() -> Comparison:
        return compared(quantised(), classifier.samples[: fixed_batch(quantised()) or COMPARED])

    def top1(make: Callable[[], Run]) -> float:
        return accuracy(make(), classifier, batch)

    def of_variant(row: str) -> float:
        return top1(lambda: onnxruntime_runner(quantised(row)))

    def of_target(target: str) -> float:
        return top1(lambda: byoc_runner(quantised(), classifier.samples[:batch], target))

    return {
        SAMPLES: lambda: counted(classifier, batch),
        ALLOWED: lambda: classifier.allowed,
        FLOAT: lambda: top1(lambda: onnxruntime_runner(classifier.model)),
        DEFAULT: lambda: of_variant(DEFAULT),
        f"{DEFAULT}, integer-only C": lambda: of_target("csource"),
        f"{DEFAULT}, dnnl": lambda: of_target("dnnl"),
        **{row: functools.partial(of_variant, row) for row in VARIANTS if row != DEFAULT},
        "ONNX Runtime's static quantiser": lambda: top1(
            lambda: onnxruntime_runner(onnxruntime_quantised(classifier, batch))
        ),
        **{row: lambda figure=figure: figure(layers()) for row, figure in OF_LAYERS.items()},  # type: ignore[misc]
    }


def text(figures: Figures) -> str:
    """One table: a line for each row, a column for each classifier; bold is further below float than is allowed."""
    names = list(figures)
    rows = list(dict.fromkeys(row for table in figures.values() for row in table if row != SAMPLES))
    lines = [["top-1 of", *(f"{name} ({figures[name][SAMPLES]:,.0f})" for name in names)]]
    lines += [[row, *(_cell(figures[name], row) for name in names)] for row in rows]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(table: Mapping[str, float], row: str) -> str:
    if row not in table:
        return ""
    if row in OF_LAYERS:
        return f"{table[row]:.2g}"
    missed = row != ALLOWED and table[row] < table[FLOAT] - table[ALLOWED]
    return f"**{table[row]:.2f}**" if missed else f"{table[row]:.2f}"


@functools.cache
def quantiser() -> str:
    """Tells the code of the quantiser apart from that which measured earlier figures."""
    files = sorted(Path(byoc.__file__).parent.glob("quant/*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


def read(path: Path | None) -> Figures:
    """The figures of an earlier run, unless another quantiser made them."""
    if path is None or not path.exists():
        return {}
    content = json.loads(path.read_text())
    if content["quantiser"] != quantiser():
        print(f"{path} was measured with another version of byoc/quant: all is measured again", file=sys.stderr)
        return {}
    return content["figures"]


def write(path: Path, figures: Figures) -> None:
    """Whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps({"quantiser": quantiser(), "figures": figures}, indent=1) + "\n")
    partial.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="names of classifiers, separated by commas")
    parser.add_argument("--json", type=Path, help="write the figures here, each as soon as it is known, and keep these")
    parser.add_argument("--show", action="store_true", help="print the file of --json, measure nothing")
    parser.add_argument("--samples", type=int, default=1_000_000, help="at most so many samples each")
    arguments = parser.parse_args()
    if arguments.show and not arguments.json:
        parser.error("--show needs --json")
    figures = read(arguments.json)
    made = classifiers(arguments.samples)
    chosen = arguments.only.split(",") if arguments.only else list(made)
    if unknown := set(chosen) - set(made):
        parser.error(f"no classifier {', '.join(sorted(unknown))}; there are {', '.join(made)}")
    keep = functools.partial(write, arguments.json, figures) if arguments.json else lambda: None
    for name in [] if arguments.show else chosen:
        measure(made[name], figures.setdefault(name, {}), keep)
    print(f"\n{text({name: figures[name] for name in made if name in figures})}")


def measure(make: Callable[[], Classifier], table: dict[str, float], keep: Callable[[], None]) -> None:
    """Add the rows that the table of a classifier lacks, and `keep` each."""
    classifier = make()
    for row, figure in measurements(classifier).items():
        if row not in table:
            table[row] = figure()
            keep()
            print(f"{classifier.name}: {row}: {table[row]:.4g}", flush=True)


if __name__ == "__main__":
    main()
