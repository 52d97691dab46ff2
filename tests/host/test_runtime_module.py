"""A codegen may answer with a C++ runtime module built outside TVM; it is saved into the artifact."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tvm_ffi

import byoc
from byoc import Codegen, RuntimeModule, op, register_codegen
from byoc.lower.partition_function import PartitionFunction
from tests.host.modules import dag, run_on_host

SOURCE = r"""
#include <tvm/ffi/cast.h>
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/function.h>
#include <tvm/ffi/reflection/registry.h>
#include <cmath>
#include <string>
namespace ffi = tvm::ffi;
class ExpModule : public ffi::ModuleObj {
 public:
  explicit ExpModule(std::string symbol) : symbol_(symbol) {}
  const char* kind() const final { return "byoc_test_exp"; }
  int GetPropertyMask() const final { return ffi::Module::kBinarySerializable | ffi::Module::kRunnable; }
  ffi::Bytes SaveToBytes() const final { return ffi::Bytes(symbol_); }
  static ffi::Module LoadFromBytes(const ffi::Bytes& b) { return Create(std::string(b.data(), b.size())); }
  static ffi::Module Create(std::string symbol) { return ffi::Module(ffi::make_object<ExpModule>(symbol)); }
  ffi::Optional<ffi::Function> GetFunction(const ffi::String& name) final {
    if (std::string(name) != symbol_) return std::nullopt;
    return ffi::Function::FromPacked([](ffi::PackedArgs args, ffi::Any* result) {
      DLTensor* in = args[0].cast<DLTensor*>();
      DLTensor* out = args[args.size() - 1].cast<DLTensor*>();
      for (int64_t i = 0; i < in->shape[0] * in->shape[1]; ++i)
        static_cast<float*>(out->data)[i] = std::exp(static_cast<float*>(in->data)[i]);
    });
  }
 private:
  std::string symbol_;
};
TVM_FFI_STATIC_INIT_BLOCK() {
  if (ffi::Function::GetGlobal("ffi.Module.load_from_bytes.byoc_test_exp").has_value()) return;
  tvm::ffi::reflection::GlobalDef()
      .def("ffi.Module.load_from_bytes.byoc_test_exp", ExpModule::LoadFromBytes)
      .def("byoc_test_exp.create", ExpModule::Create);
}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("module")
    (folder / "exp.cc").write_text(SOURCE)
    built = folder / "libbyoc_test_exp.so"
    ffi_library = Path(tvm_ffi.libinfo.find_libtvm_ffi())
    include = [f"-I{p}" for p in tvm_ffi.libinfo.include_paths()]
    command = ["c++", "-std=c++17", "-O1", "-shared", "-fPIC", *include, "exp.cc", "-o", str(built)]
    subprocess.run([*command, f"-L{ffi_library.parent}", "-ltvm_ffi"], cwd=folder, check=True)
    tvm_ffi.load_module(str(built))
    return built


def test_a_module_is_saved_and_runs_in_a_fresh_process(library: Path, tmp_path: Path) -> None:
    @register_codegen("expmodule", version="1")
    class ExpCodegen(Codegen):
        """exp, by a runtime module."""

        patterns = {"exp": op("exp")("x")}

        def emit(self, partition: PartitionFunction) -> RuntimeModule:
            module = tvm_ffi.get_global_func("byoc_test_exp.create")(partition.symbol)
            return RuntimeModule(module, (partition.symbol,), libraries=(str(library),))

    module = dag([("relu", [-1]), ("exp", [0]), ("sin", [1]), ("exp", [2])], [3])
    artifact = byoc.compile(module, ["expmodule"], use_cache=False)
    x = np.linspace(-2, 2, 32, dtype="float32").reshape(4, 8)
    want = run_on_host(module, "main", x, x)[0]
    np.testing.assert_allclose(artifact.session().run({"x": x, "y": x})["output"], want, rtol=1e-6)
    artifact.save(tmp_path / "m.byoc")
    np.save(tmp_path / "x.npy", x)
    program = (
        "import byoc, numpy as np; x = np.load('x.npy');"
        "np.save('out.npy', byoc.load('m.byoc').run({'x': x, 'y': x})['output'])"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), want, rtol=1e-6)
