"""The C of a partition: its program as text, and the functions that hand it to the runtime."""

from __future__ import annotations

from collections.abc import Sequence

from byoc_codegens.dnnl.program import Program

from byoc import Value

_BIND = """\
static ByocDnnlPartition *partition;

static void __attribute__((destructor)) release(void) { byoc_dnnl_destroy(partition); }

BYOC_EXPORT int __tvm_ffi_@SYMBOL@_bind(void *self, const TVMFFIAny *args, int32_t num_args, TVMFFIAny *result) {
  const void *constants[@SLOTS@];
  (void)self;
  if (num_args != @CONSTANTS@) {
    TVMFFIErrorSetRaisedFromCStr("TypeError", "@SYMBOL@_bind takes @CONSTANTS@ constants");
    return -1;
  }
  for (int i = 0; i < num_args; ++i) constants[i] = byoc_data(args + i);
  const char *failure = byoc_dnnl_create(program, constants, &partition);
  if (failure) {
    TVMFFIErrorSetRaisedFromCStr("RuntimeError", failure);
    return -1;
  }
  result->type_index = kTVMFFIInt;
  result->v_int64 = 0;
  return 0;
}
"""
_RUN = """\
BYOC_EXPORT int __tvm_ffi_@SYMBOL@(void *self, const TVMFFIAny *args, int32_t num_args, TVMFFIAny *result) {
  (void)self; (void)result;
  if (num_args != @ARGUMENTS@) {
    TVMFFIErrorSetRaisedFromCStr("TypeError", "@SYMBOL@ takes @ARGUMENTS@ arguments");
    return -1;
  }
@SYMBOLS@  const int64_t extents[] = {@EXTENTS@};
  void *inputs[@INPUT_SLOTS@], *outputs[@OUTPUTS@];
  for (int i = 0; i < @INPUTS@; ++i) inputs[i] = byoc_data(args + i);
  for (int i = 0; i < @OUTPUTS@; ++i) outputs[i] = byoc_data(args + @FIRST_OUTPUT@ + i);
  const char *failure = byoc_dnnl_run(partition, extents, inputs, outputs);
  if (failure) {
    TVMFFIErrorSetRaisedFromCStr("RuntimeError", failure);
    return -1;
  }
  return 0;
}
"""

_FLOOR = """\
BYOC_EXPORT int __tvm_ffi_@SYMBOL@_floor(void *self, const TVMFFIAny *args, int32_t num_args, TVMFFIAny *result) {
  (void)self;
  if (num_args != 1 || args[0].type_index != kTVMFFIInt) {
    TVMFFIErrorSetRaisedFromCStr("TypeError", "@SYMBOL@_floor takes a number of repeats");
    return -1;
  }
  result->type_index = kTVMFFIFloat;
  const char *failure = byoc_dnnl_floor(partition, args[0].v_int64, &result->v_float64);
  if (failure) {
    TVMFFIErrorSetRaisedFromCStr("RuntimeError", failure);
    return -1;
  }
  return 0;
}
"""


def stub(symbol: str, program: Program, inputs: Sequence[Value], shape_args: Sequence[str]) -> str:
    """C source that defines `symbol`, `symbol`_bind, and `symbol`_floor for benchmarks."""
    first_output = len(inputs) + bool(shape_args)
    words = {
        "SYMBOL": symbol,
        "CONSTANTS": len(program.constants()),
        "SLOTS": max(1, len(program.constants())),
        "ARGUMENTS": first_output + len(program.outputs),
        "SYMBOLS": _symbols(inputs, shape_args),
        "EXTENTS": ", ".join(program.extents()) or "0",
        "INPUTS": len(inputs),
        "INPUT_SLOTS": max(1, len(inputs)),
        "OUTPUTS": len(program.outputs),
        "FIRST_OUTPUT": first_output,
    }
    text = "\n".join((_BIND, _RUN, _FLOOR))
    for word, value in words.items():
        text = text.replace(f"@{word}@", str(value))
    head = '#include "byoc.h"\n#include "partition.h"\n\nstatic const char program[] =\n'
    return f"{head}{_literal(program.to_json())};\n\n{text}"


def _symbols(inputs: Sequence[Value], shape_args: Sequence[str]) -> str:
    """Each symbolic dimension as a variable, read from the shape of an input or from the shape argument."""
    found = {
        str(dim): f"byoc_tensor(args + {i})->shape[{axis}]"
        for i, value in reversed(list(enumerate(inputs)))
        for axis, dim in enumerate(value.shape or ())
        if str(dim).isidentifier()
    }
    found |= {name: f"byoc_shape_dim(args + {len(inputs)}, {i})" for i, name in enumerate(shape_args)}
    return "".join(f"  const int64_t {name} = {text}; (void){name};\n" for name, text in sorted(found.items()))


def _literal(text: str) -> str:
    """C string literals, one line each."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    lines, at = [], 0
    while at < len(escaped):
        end = min(at + 110, len(escaped))
        while escaped[end - 1] == "\\" and end < len(escaped):  # an escape stays whole
            end += 1
        lines.append(f'  "{escaped[at:end]}"')
        at = end
    return "\n".join(lines)
