"""How far dnnl's integers are from the reference's, layer by layer, on quantised models.

python benchmarks/int8_layers.py [--only NAME,...] [--batch N]

Every layer as dnnl computes it (a sum with the convolution before it) is a partition of its own, and `byoc.verify`
feeds each with what the reference gives for the layers before it, so that no layer inherits a difference from another.
Models that others quantised come as they are; float ones are quantised by byoc with one batch.  The inputs are labelled
data that calibrated nothing; models of the zoo (``resnet50.int8``; random weights) get seeded numbers.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import byoc
from benchmarks.labelled_data import classifiers, shared_models
from benchmarks.zoo import models as zoo
from byoc.difference import difference
from byoc.partitioner.plan import Composite, Plan
from byoc.partitioner.single import cut
from byoc.verify import PartitionError, carried_out, verify

ZOO = Path(__file__).resolve().parents[1] / "build" / "zoo" / "models"
ZOO_MODEL = "resnet50.int8"
ALLOWED = 1e-3  # of a layer's elements, how many may be one step off
BY_OTHERS = {
    "resnet20_qdq": ("cifar10-resnet/resnet20_cifar10_qdq_int8.onnx", "resnet20_cifar10"),
    "resnet20_qoperator": ("cifar10-resnet/resnet20_cifar10_qoperator_int8.onnx", "resnet20_cifar10"),
    "mobilenetv2_qat": ("mobilenetv2-int8/mobilenetv2_qat_qdq_int8.onnx", "mobilenetv2_dequant_fp32"),
}


@dataclass(frozen=True)
class Layer:
    """Elements of one composite's integer results: all, one step off, further off."""

    node: str
    op: str
    elements: int
    one_off: int
    further_off: int

    @property
    def share(self) -> float:
        """Of the elements, those that are not equal."""
        return (self.one_off + self.further_off) / self.elements


@dataclass(frozen=True)
class Comparison:
    """Layers that round to integers, not those that only move elements.

    `whole` is how far the outputs of dnnl's partitions as they are compiled are from those of the layers cut apart,
    `csource` how far csource's are from the reference's: largest differences over largest magnitudes.
    """

    layers: tuple[Layer, ...]
    whole: float
    csource: float


def quantised(name: str, batch: int) -> tuple[onnx.ModelProto, np.ndarray]:
    """A quantised model, and what it is compared on."""
    if name in zoo.QUANTISED:
        path = zoo.model_file(ZOO, name, 1)
        return onnx.load(path), next(iter(zoo.inputs_of(path).values()))
    file, source = BY_OTHERS.get(name, ("", name))
    classifier = classifiers()[source]()
    model = onnx.load(shared_models() / file) if file else byoc.quantize(classifier.model, classifier.calibration).proto
    return model, classifier.samples[: fixed_batch(model) or batch]


def fixed_batch(model: onnx.ModelProto) -> int:
    """0 where it is free."""
    return int(model.graph.input[0].type.tensor_type.shape.dim[0].dim_value)


def layers_of(plan: Plan) -> dict[str, list[tuple[Composite, ...]]]:
    """Every composite by itself, but a sum with a convolution that it does not enlarge: dnnl makes those one."""
    assert plan.model is not None
    pieces: dict[str, list[tuple[Composite, ...]]] = {}
    for function in plan.functions:
        nodes = plan.model.graphs[function.name].nodes
        uses = Counter(producer for op in function.ops for producer in op.producers)
        for part in function.partitions:
            by_root = {c.root: (c,) for c in sorted(part.composites, key=lambda c: c.root)}
            for root in list(by_root):
                if function.ops[root].op != "byoc.qlinear_add":
                    continue
                (shift,) = nodes[root].attrs["shift"]
                factors = [m * 2.0**-shift for m in nodes[root].attrs["multiplier"]]
                read = [v.producer for v, f in zip(nodes[root].inputs, factors, strict=True) if f <= 1]
                made = [n.index for n in read if n and n.index in by_root and uses[n.index] == 1]
                convolutions = [i for i in made if function.ops[i].op == "byoc.qlinear_conv"]
                if convolutions:
                    by_root[root] = (*by_root.pop(max(convolutions)), *by_root[root])
            pieces[part.symbol] = list(by_root.values())
    return pieces


def compared(model: onnx.ModelProto, x: np.ndarray) -> Comparison:
    """Layer by layer, and as a whole."""
    name = model.graph.input[0].name
    shapes = {name: x.shape}
    plan = byoc.partition(model, ["dnnl"], shapes=shapes)
    assert plan.model is not None
    artifact = byoc.compile(cut(plan, plan.model.graphs, layers_of(plan)), use_cache=False)
    done = carried_out(plan, artifact)
    with artifact.session() as session:
        verified = verify(session, done, {name: x})
    roots = {p.symbol: p.composites[-1].root for f in done.functions for p in f.partitions}
    ops = done.functions[0].ops
    found = [_layer(error, ops[roots[error.symbol]].op) for error in verified.partitions]
    with byoc.compile(plan, use_cache=False).session() as session:
        whole = _largest(session.run({name: x}), verified.results)
    with byoc.compile(model, ["csource"], shapes=shapes, use_cache=False).session() as session:
        exact = _largest(session.run({name: x}), verified.oracle)
    rounding = tuple(layer for layer in found if layer.op.startswith("byoc.") or layer.op == "quantize")
    return Comparison(rounding, whole, exact)


def _largest(mine: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> float:
    """Difference over the largest magnitude."""
    return max(difference(name, mine[name], other[name]).max_rel for name in mine)


def _layer(error: PartitionError, op: str) -> Layer:
    apart = [
        np.abs(got.astype("int64") - want.astype("int64")).ravel()
        for got, want in zip(error.record.results, error.record.golden, strict=True)
        if want.dtype.kind in "iu"
    ]
    steps = np.concatenate(apart) if apart else np.zeros(0, "int64")
    return Layer(error.first_node, op, steps.size, int((steps == 1).sum()), int((steps > 1).sum()))


def report(name: str, comparison: Comparison) -> None:
    """The sums, and the layers that are furthest off."""
    found = comparison.layers
    elements, off = sum(layer.elements for layer in found), sum(layer.one_off for layer in found)
    further, above = sum(layer.further_off for layer in found), sum(layer.share > ALLOWED for layer in found)
    print(f"\n{name}: {len(found)} layers, {elements} elements")
    print(f"  one step off: {off} ({100 * off / elements:.4f} %), further off: {further}; layers above 0.1 %: {above}")
    print(
        f"  outputs: uncut {comparison.whole:.1e} from cut apart, csource {comparison.csource:.1e} from the reference"
    )
    for layer in sorted(found, key=lambda layer: (-layer.further_off, -layer.share))[:4]:
        print(
            f"  {layer.op:24s} {layer.elements:9d} elements, one off: {layer.one_off} ({100 * layer.share:.4f} %), "
            f"further: {layer.further_off}  {layer.node}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="names of models, separated by commas")
    parser.add_argument("--batch", type=int, default=8, help="samples to compare on")
    arguments = parser.parse_args()
    for name in arguments.only.split(",") if arguments.only else (*BY_OTHERS, *classifiers(), ZOO_MODEL):
        model, x = quantised(name, arguments.batch)
        report(name, compared(model, x))


if __name__ == "__main__":
    main()
