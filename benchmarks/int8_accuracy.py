"""Top-1 accuracy of float and int8 classifiers, calibrated with one batch.

python benchmarks/int8_accuracy.py                                  every classifier, one table at the end
python benchmarks/int8_accuracy.py --only digits,resnet20_cifar10   some
python benchmarks/int8_accuracy.py --json figures.json --add        those that are not in the file yet
python benchmarks/int8_accuracy.py --json figures.json --show       the table of an earlier run

int8 by byoc's observers, by ONNX Runtime's static quantiser on the same batch (in its own form, QDQ), all run by ONNX
Runtime; and byoc's default as integer-only C (csource) and on oneDNN's integers (dnnl).  Calibration samples are not
among those that are counted.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx.version_converter

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import byoc
from benchmarks.labelled_data import Classifier, classifiers

SAMPLES = "samples"
Run = Callable[[np.ndarray], np.ndarray]
VARIANTS: dict[str, dict[str, object]] = {
    "mse": {},
    "klj": {"method": "klj"},
    "minmax": {"method": "minmax"},
    "percentile": {"method": "percentile"},
    "mse tensor": {"per_channel": False},
    "klj tensor": {"method": "klj", "per_channel": False},
    "minmax tensor": {"method": "minmax", "per_channel": False},
    "mse power of 2": {"power_of_two": True},
    "klj power of 2": {"method": "klj", "power_of_two": True},
    "mse one pass": {"progressive": False},
    "mse, biases as they are": {"bias_correction": False},
    "klj, biases corrected": {"method": "klj", "bias_correction": True},
    "mse 16 bits": {"bits": 16},
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


def accuracy(run: Run, classifier: Classifier, model: onnx.ModelProto, batch: int) -> float:
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


def rows(classifier: Classifier, only: str = "") -> dict[str, float]:
    """Top-1 of each variant."""
    batch = batch_of(classifier)
    table = {"float": accuracy(onnxruntime_runner(classifier.model), classifier, classifier.model, batch)}
    chosen = {n: k for n, k in VARIANTS.items() if not only or n in only.split(",")}
    for name, keywords in chosen.items():
        quantised = byoc.quantize(classifier.model, classifier.calibration, **keywords)
        table[name] = accuracy(onnxruntime_runner(quantised.proto), classifier, classifier.model, batch)
        if name == "mse":
            for label, target in (("mse, integer C", "csource"), ("mse, dnnl", "dnnl")):
                run = byoc_runner(quantised.proto, classifier.samples[:batch], target)
                table[label] = accuracy(run, classifier, classifier.model, batch)
    if not only or "onnxruntime" in only.split(","):
        theirs = onnxruntime_runner(onnxruntime_quantised(classifier, batch))
        table["onnxruntime"] = accuracy(theirs, classifier, classifier.model, batch)
    return table


def text(figures: dict[str, dict[str, float]]) -> str:
    """One table: a line for each way of running, a column for each classifier, and how many samples count there."""
    names = list(figures)
    ways = list(dict.fromkeys(way for table in figures.values() for way in table if way != SAMPLES))
    lines = [["top-1 of", *(f"{name} ({figures[name][SAMPLES]:,.0f})" for name in names)]]
    lines += [[way, *(f"{figures[n][way]:.2f}" if way in figures[n] else "" for n in names)] for way in ways]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="names of classifiers, separated by commas")
    parser.add_argument("--variants", default="", help="names of variants, or onnxruntime, separated by commas")
    parser.add_argument("--json", type=Path, help="write the figures here, after every classifier")
    parser.add_argument("--add", action="store_true", help="keep what the file of --json has")
    parser.add_argument("--show", action="store_true", help="print the file of --json, measure nothing")
    parser.add_argument("--samples", type=int, default=1_000_000, help="at most so many samples each")
    arguments = parser.parse_args()
    if (arguments.add or arguments.show) and not arguments.json:
        parser.error("--add and --show need --json")
    figures: dict[str, dict[str, float]] = {}
    if arguments.show or (arguments.add and arguments.json.exists()):
        figures = json.loads(arguments.json.read_text())
    made = classifiers(arguments.samples)
    chosen = arguments.only.split(",") if arguments.only else list(made)
    for name in () if arguments.show else [n for n in chosen if n not in figures]:
        classifier = made[name]()
        table = rows(classifier, arguments.variants)
        samples = counted(classifier, batch_of(classifier))
        print(f"\n{name}: {samples} samples, int8 may lose {classifier.allowed} points")
        figures[name] = {SAMPLES: samples, **table}
        if arguments.json:
            arguments.json.write_text(json.dumps(figures, indent=1) + "\n")
        for variant, value in table.items():
            print(f"  {variant:16s} {value:6.2f}  {value - table['float']:+.2f}", flush=True)
    print(f"\n{text(figures)}")


if __name__ == "__main__":
    main()
