"""What native code relies on and cannot see: the tensors that it is called with, as the manifest describes them.

The library carries the digest of this description.  A loader compares it with the manifest's before the first call, so
that a manifest that was exchanged, with all checksums made to fit, does not send the code beyond its tensors.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from byoc.artifact.dtypes import dtype_name
from byoc.artifact.manifest import Manifest
from byoc.tensor_spec import TensorSpec

SYMBOL = "byoc_interface"
USE_THREADS = "byoc_use_threads"


def interface_words(manifest: Manifest, weights: Sequence[np.ndarray[Any, Any]]) -> tuple[int, int, int, int]:
    """SHA-256, as four big-endian int64, of the entry functions, partitions, states and weights.

    Their names, dtypes and shapes, and who takes which; of weights, dtypes and shapes.
    """
    text = "".join(_lines(manifest, weights))
    first, second, third, fourth = struct.unpack(">4q", hashlib.sha256(text.encode("utf-8")).digest())
    return first, second, third, fourth


def interface_source(words: Sequence[int]) -> str:
    """C source of what every library has: its threads, and two functions.

    :data:`SYMBOL` answers 1 if its four arguments are these words; :data:`USE_THREADS` takes the number of threads that
    a loop may use.
    """
    # Written as bits: the lowest int64 has no literal of its own.
    compared = " && ".join(f"(uint64_t)args[{i}].v_int64 == 0x{w % 2**64:016x}u" for i, w in enumerate(words))
    return f"""#include "byoc_threads.h"
BYOC_EXPORT int __tvm_ffi_{SYMBOL}(void *self, const TVMFFIAny *args, int32_t count, TVMFFIAny *result) {{
  (void)self;
  result->type_index = kTVMFFIInt;
  result->v_int64 = count == 4 && {compared};
  return 0;
}}
BYOC_EXPORT int __tvm_ffi_{USE_THREADS}(void *self, const TVMFFIAny *args, int32_t count, TVMFFIAny *result) {{
  (void)self, (void)count, (void)result;
  byoc_use_threads((int)args[0].v_int64);
  return 0;
}}
"""


def _lines(manifest: Manifest, weights: Sequence[np.ndarray[Any, Any]]) -> Iterable[str]:
    # byoc_interface.h writes the same lines.
    for entry in manifest.entry_functions:
        yield f"entry {entry.name}\n"
        yield from (_tensor("input", spec) for spec in entry.inputs)
        yield from (_tensor("output", spec) for spec in entry.outputs)
        yield f"takes {_numbers(entry.weights)}; {_numbers(entry.states)}\n"
    for partition in manifest.partitions:
        yield f"partition {partition.symbol} {partition.bind or ''}; {_numbers(partition.constants)}\n"
    yield from (_tensor("state", spec) for spec in manifest.states)
    yield from (f"weight {dtype_name(array.dtype)} {_numbers(array.shape)}\n" for array in weights)


def _tensor(kind: str, spec: TensorSpec) -> str:
    return f"{kind} {spec.name} {spec.dtype} {_numbers(spec.shape)}\n"


def _numbers(values: Sequence[int | str]) -> str:
    return ",".join(str(value) for value in values)
