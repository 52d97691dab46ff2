"""Small artifacts built by hand, without byoc's compiler: a Relax module, a C partition, weights."""

from __future__ import annotations

import functools
import platform
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import tvm
from tvm import relax

from byoc.artifact import Artifact, EntryFunction, Manifest, PartitionRecord, WeightStore
from byoc.artifact.interface import interface_source, interface_words
from byoc.compat import TVM_FFI_VERSION, TVM_VERSION
from byoc.tensor_spec import TensorSpec

INCLUDE = Path(__file__).resolve().parent.parent / "byoc" / "include"

# out = in + offset, where the offset was bound after loading; a negative first element is refused.
ADD_OFFSET = r"""
#include "byoc.h"
static const float *offset;
BYOC_EXPORT int __tvm_ffi_add_offset_bind(void *self, const TVMFFIAny *args, int32_t count, TVMFFIAny *result) {
  (void)self; (void)result;
  if (count != 1) { TVMFFIErrorSetRaisedFromCStr("ValueError", "one constant expected"); return -1; }
  offset = (const float *)byoc_data(&args[0]);
  return 0;
}
BYOC_EXPORT int __tvm_ffi_add_offset(void *self, const TVMFFIAny *args, int32_t count, TVMFFIAny *result) {
  (void)self; (void)count; (void)result;
  const float *in = (const float *)byoc_data(&args[0]);
  float *out = (float *)byoc_data(&args[1]);
  int64_t rows = byoc_tensor(&args[0])->shape[0], columns = byoc_tensor(&args[0])->shape[1];
  if (rows * columns > 0 && in[0] <= -1000.0f) {
    TVMFFIErrorSetRaisedFromCStr("ValueError", "the accelerator refuses so small a number");
    return -1;
  }
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j) out[i * columns + j] = in[i * columns + j] + offset[j];
  return 0;
}
"""


def manifest(**fields: Any) -> Manifest:
    """A manifest for this machine and these versions."""
    return Manifest(
        **{
            "byoc_version": "0.1.0",
            "tvm_version": TVM_VERSION,
            "tvm_ffi_version": TVM_FFI_VERSION,
            "architecture": platform.machine(),
            **fields,
        }
    )


def library_of(module: tvm.IRModule, record: Manifest, weights: WeightStore, c_source: str = "") -> bytes:
    """The shared library of a Relax module and a file of C."""
    target = tvm.target.Target("llvm")
    executable = tvm.compile(module, target=target, relax_pipeline=relax.get_default_pipeline(target))
    with tempfile.TemporaryDirectory() as folder:
        sources = {"interface": interface_source(interface_words(record, weights.arrays)), "part": c_source}
        addons = [_object_file(name, source, Path(folder)) for name, source in sources.items() if source]
        path = Path(folder) / "library.so"
        executable.export_library(str(path), addons=addons, options=["-Wl,-z,now"])
        return path.read_bytes()


def _object_file(name: str, source: str, folder: Path) -> str:
    from tvm_ffi import libinfo

    (folder / f"{name}.c").write_text(source)
    include = [f"-I{path}" for path in [INCLUDE, *libinfo.include_paths()]]
    flags = ["-std=gnu11", "-O2", "-fPIC", "-fvisibility=hidden", "-Wall"]
    command = ["cc", *flags, *include, "-c", str(folder / f"{name}.c"), "-o", str(folder / f"{name}.o")]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return str(folder / f"{name}.o")


OFFSET = np.arange(8, dtype=np.float32)
FACTOR = np.linspace(-1, 1, 32, dtype=np.float32).reshape(4, 8)


@functools.lru_cache(maxsize=1)
def offset_model() -> Artifact:
    """main: y = relu(x @ FACTOR + OFFSET), x float32[n, 4]; FACTOR is a weight of main, OFFSET one of the partition.

    twice: z = 2 * x, x float32[3]; also passes its input and its weight through.
    """
    rows = tvm.tirx.Var("n", "int64")
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((rows, 4), "float32"))
    w = relax.Var("w", relax.TensorType((4, 8), "float32"))
    with builder.function("main", [x, w]):
        with builder.dataflow():
            product = builder.emit(relax.op.matmul(x, w))
            shifted = builder.emit(
                relax.call_dps_packed("add_offset", [product], out_ty=relax.TensorType((rows, 8), "float32"))
            )
            result = builder.emit_output(relax.op.nn.relu(shifted))
        builder.emit_func_output(result)
    a = relax.Var("a", relax.TensorType((3,), "float32"))
    b = relax.Var("b", relax.TensorType((8,), "float32"))
    with builder.function("twice", [a, b]):
        with builder.dataflow():
            doubled = builder.emit_output(relax.op.add(a, a))
        builder.emit_func_output(relax.Tuple([doubled, a, b]))
    weights = WeightStore()
    factor, offset = weights.add("factor", FACTOR), weights.add("offset", OFFSET)
    record = manifest(
        entry_functions=(
            EntryFunction(
                "main",
                (TensorSpec("x", "float32", ("n", 4)),),
                (TensorSpec("y", "float32", ("n", 8)),),
                (factor,),
            ),
            EntryFunction(
                "twice",
                (TensorSpec("a", "float32", (3,)),),
                (
                    TensorSpec("doubled", "float32", (3,)),
                    TensorSpec("same", "float32", (3,)),
                    TensorSpec("offset", "float32", (8,)),
                ),
                (offset,),
            ),
        ),
        partitions=(PartitionRecord("add_offset", "handmade", "add_offset_bind", (offset,)),),
    )
    return Artifact(record, '{"plan": "handmade"}', library_of(builder.get(), record, weights, ADD_OFFSET), weights)


def offset_model_reference(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.maximum(x @ FACTOR + OFFSET, 0)


def host_model(functions: dict[str, tuple[list[TensorSpec], list[TensorSpec], Any]], **fields: Any) -> Artifact:
    """An artifact of host functions: inputs, outputs, a callable from Relax inputs to results; `fields` of a manifest.

    Symbolic dimensions of its inputs are names; equal names are one symbol.
    """
    builder = relax.BlockBuilder()
    for name, (inputs, _, body) in functions.items():
        symbols: dict[str, Any] = {}
        parameters = [relax.Var(f"arg{i}", _type_of(spec, symbols)) for i, spec in enumerate(inputs)]
        with builder.function(name, parameters):
            with builder.dataflow():
                result = builder.emit_output(body(*parameters))
            builder.emit_func_output(result)
    record = manifest(
        entry_functions=tuple(
            EntryFunction(name, tuple(inputs), tuple(outputs)) for name, (inputs, outputs, _) in functions.items()
        ),
        **fields,
    )
    return Artifact(record, "{}", library_of(builder.get(), record, WeightStore()), WeightStore())


def _type_of(spec: TensorSpec, symbols: dict[str, Any]) -> Any:
    names = {"__builtins__": {}}
    shape = []
    for dim in spec.shape:
        if isinstance(dim, str):
            if dim.isidentifier():
                symbols.setdefault(dim, tvm.tirx.Var(dim, "int64"))
            dim = eval(dim, names, symbols)
        shape.append(dim)
    return relax.TensorType(tuple(shape), spec.dtype)
