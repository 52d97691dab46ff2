"""Models that cannot be imported are refused in three lines that name what is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from byoc.errors import ByocError, ExternalDataError, ModelFileError, ShapeError, UnsupportedModelError
from byoc.importer import import_model

FLOAT = TensorProto.FLOAT


def model(*nodes: onnx.NodeProto, weights: dict[str, np.ndarray] | None = None, opset: int = 17) -> onnx.ModelProto:
    """A model from ``x`` [N, 4] to ``y``."""
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid("com.acme", 1)], ir_version=8
    )


RELU = helper.make_node("Relu", ["x"], ["y"], name="act")


def refusal(source: object, kind: type[ByocError], **options: object) -> str:
    with pytest.raises(kind) as caught:
        import_model(source, **options)  # type: ignore[arg-type]
    assert type(caught.value) is kind
    return str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "absent.onnx"
    assert refusal(path, ModelFileError) == f'[BYOC-201] there is no file "{path}"\n  do:  check the path.'


def test_a_folder_is_refused_and_a_model_in_it_is_suggested(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"x")
    assert refusal(tmp_path, ModelFileError) == (
        f'[BYOC-201] "{tmp_path}" is a folder, not an ONNX file\n'
        f'  do:  name the file, such as "{tmp_path / "net.onnx"}".'
    )


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"PK\x03\x04rest", "it is a zip archive"),
        (b"\x89PNG\r\n\x1a\nrest", "it is a PNG image"),
        (b"\xff\xd8\xff\xe0rest", "it is a JPEG image"),
        (b"version https://git-lfs.github.com/spec/v1", "it is a Git LFS pointer, not the file that it points to"),
        (b"Dear all,\nhere is no model.", "it is text"),
    ],
)
def test_a_file_of_another_kind_is_called_by_its_kind(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    assert (
        refusal(path, ModelFileError)
        == f'[BYOC-201] "net.onnx" is not an ONNX model\n  why: {why}\n  do:  name an ONNX file.'
    )


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"")
    assert refusal(path, ModelFileError) == (
        '[BYOC-201] "net.onnx" is empty\n  why: it holds 0 bytes\n  do:  check the file, or export the model again.'
    )


def test_a_model_cut_anywhere_is_refused() -> None:
    proto = model(RELU, weights={"w": np.ones((4, 4), np.float32)})
    del proto.opset_import[1:]
    whole = proto.SerializeToString()
    for length in range(1, len(whole)):
        with pytest.raises(ByocError):
            import_model(whole[:length])


def test_a_truncated_file_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    data = model(RELU).SerializeToString()
    path.write_bytes(data[: len(data) // 2])
    assert refusal(path, ModelFileError) == (
        '[BYOC-201] "net.onnx" is not an ONNX model, or was cut short\n'
        f"  why: its {len(data) // 2} bytes do not decode as one\n"
        "  do:  check the file, or export the model again."
    )


def test_random_bytes_never_crash() -> None:
    rng = np.random.default_rng(0)
    for length in (1, 7, 100, 5000):
        with pytest.raises(ByocError):
            import_model(rng.bytes(length))


def test_an_opset_too_new_is_refused() -> None:
    newest = onnx.defs.onnx_opset_version()
    proto = model(RELU)
    proto.opset_import[0].version = 314159
    assert refusal(proto, UnsupportedModelError) == (
        "[BYOC-203] the model uses opset 314159\n"
        f"  why: the installed onnx {onnx.__version__} knows opsets up to {newest}\n"
        f"  do:  export the model with opset {min(newest, 21)}."
    )


def test_all_unsupported_operators_are_listed_at_once_with_counts_and_first_nodes() -> None:
    proto = model(
        helper.make_node("Frob", ["x"], ["a"], name="first", domain="com.acme"),
        helper.make_node("Frob", ["a"], ["b"], name="second", domain="com.acme"),
        helper.make_node("Multinomial", ["b"], ["y"]),
    )
    assert refusal(proto, UnsupportedModelError) == (
        "[BYOC-203] the model uses 2 operators that the importer does not take: "
        'Multinomial x1 (first: "Multinomial_2"), com.acme.Frob x2 (first: "first")\n'
        "  why: Multinomial: it draws random numbers; the importer takes models whose inputs decide their outputs; "
        "com.acme.Frob: there is no lowering to Relax for it\n"
        "  do:  export the model without these, or replace them by operators of the ONNX standard."
    )


def test_an_operator_of_another_domain_is_not_taken_for_the_standard_one_of_that_name() -> None:
    proto = model(helper.make_node("Relu", ["x"], ["y"], name="act", domain="com.acme"))
    assert 'com.acme.Relu x1 (first: "act")' in refusal(proto, UnsupportedModelError)


def test_an_unknown_attribute_is_refused_by_node_and_name() -> None:
    node = helper.make_node("Softmax", ["x"], ["y"], name="sm", temperature=2.0)
    assert refusal(model(node), UnsupportedModelError) == (
        '[BYOC-203] node "sm" (Softmax) cannot be imported\n'
        '  why: its attribute "temperature" is unknown\n'
        "  do:  change the model or its export so that it avoids this."
    )


@pytest.mark.parametrize(
    ("node", "why"),
    [
        (helper.make_node("Relu", ["x", "x"], ["y"]), "it has 2 inputs; Relu takes at most 1"),
        (helper.make_node("Relu", [], ["y"]), 'its input 0 ("X") is missing'),
        (helper.make_node("Add", ["x", ""], ["y"]), 'its input 1 ("B") is missing'),
        (helper.make_node("Concat", ["x", "x"], ["y"]), 'its attribute "axis" is missing'),
        (helper.make_node("Softmax", ["x"], ["y"], axis="1"), 'its attribute "axis" is a string; it must be an int'),
        (
            helper.make_node("Add", ["x", "w"], ["y"]),
            'its inputs must have one element type, and have several: "A" float32, "B" float64',
        ),
        (helper.make_node("Conv", ["i", "k"], ["y"], strides=[0, 1]), "its strides [0, 1] must be positive"),
        (helper.make_node("Conv", ["i", "k"], ["y"], dilations=[1, -1]), "its dilations [1, -1] must be positive"),
        (helper.make_node("MaxPool", ["i"], ["y"], kernel_shape=[0, 2]), "its kernel [0, 2] must be positive"),
    ],
)
def test_a_node_that_contradicts_the_standard_is_refused_with_the_contradiction(node: onnx.NodeProto, why: str) -> None:
    weights = {"w": np.ones(4), "i": np.ones((1, 2, 4, 4), np.float32), "k": np.ones((3, 2, 2, 2), np.float32)}
    text = refusal(model(node, weights=weights), UnsupportedModelError)
    assert text.splitlines()[1] == f"  why: {why}"


def test_two_inputs_of_one_name_are_refused() -> None:
    proto = model(RELU)
    proto.graph.input.append(proto.graph.input[0])
    assert refusal(proto, ModelFileError) == (
        '[BYOC-201] 2 inputs of the model are called "x"\n'
        "  why: inputs are given by their names\n  do:  export the model again."
    )


def test_a_converter_that_fails_names_the_node_and_shows_no_traceback() -> None:
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="fc")
    text = refusal(model(node, weights={"w": np.ones((5, 2), np.float32)}), UnsupportedModelError)
    assert text.splitlines()[0] == '[BYOC-203] node "fc" (MatMul) cannot be imported'
    assert text.splitlines()[1] == "  why: it multiplies [N, 4] by [5, 2]: 4 is not 5"


def test_a_node_whose_input_has_no_shape_until_sizes_are_given_names_them() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["sizes"], end=1),
        helper.make_node("Concat", ["sizes", "rest"], ["shape"], axis=0),
        helper.make_node("Reshape", ["w", "shape"], ["right"]),
        helper.make_node("Reshape", ["x", "eights"], ["left"]),
        helper.make_node("MatMul", ["left", "right"], ["product"]),
        helper.make_node("Softmax", ["product"], ["y"], name="soft"),
    ]
    weights = {"rest": np.array([8, -1]), "eights": np.array([-1, 1, 8]), "w": np.ones(240, np.float32)}
    assert refusal(model(*nodes, weights=weights), UnsupportedModelError) == (
        '[BYOC-203] node "soft" (Softmax) cannot be imported\n'
        "  why: the shape of one of its inputs is unknown at import\n"
        '  do:  give the sizes that the model leaves open (N) by "--shape", or change its export.'
    )
    import_model(model(*nodes, weights=weights), shapes={"x": (2, 4)})


def test_a_value_that_nothing_defines_is_named() -> None:
    node = helper.make_node("Add", ["x", "ghost"], ["y"], name="sum")
    assert refusal(model(node), ModelFileError).splitlines()[0] == (
        '[BYOC-201] node "sum" reads the value "ghost", which nothing defines'
    )


def test_a_cycle_is_refused() -> None:
    nodes = [helper.make_node("Add", ["x", "b"], ["a"], name="one"), helper.make_node("Relu", ["a"], ["b"], name="two")]
    text = refusal(model(*nodes, helper.make_node("Relu", ["b"], ["y"])), ModelFileError)
    assert "depends on its own result" in text


def test_training_mode_is_refused() -> None:
    weights = {"ratio": np.array(0.5, np.float32), "training": np.array(True)}
    node = helper.make_node("Dropout", ["x", *weights], ["y"], name="drop")
    assert "it drops values at random (training mode)" in refusal(model(node, weights=weights), UnsupportedModelError)


@pytest.mark.parametrize(
    ("shapes", "text"),
    [
        (
            {"z": [1]},
            '[BYOC-104] a shape is given for "z", which is no input of the model\n  do:  known: x.',
        ),
        (
            {"x": [2**63, 4]},
            f'[BYOC-104] dimension 0 of shape {2**63},4 for input "x" is {2**63}\n  do:  give a size, a name or ?.',
        ),
        (
            {"x": [1, 2, 3]},
            '[BYOC-104] shape 1,2,3 for input "x" has 3 dimensions; the model has 2\n'
            "  why: the model declares [N, 4]\n  do:  give one entry per dimension.",
        ),
        (
            {"x": [1, 5]},
            '[BYOC-104] dimension 1 of input "x" is 4 in the model and cannot be made 5\n'
            "  why: the model was exported for that size\n"
            "  do:  ask for 4 there, or export the model with a free dimension.",
        ),
        (
            {"x": [1, None]},
            '[BYOC-104] dimension 1 of input "x" is 4 in the model and cannot be made free\n'
            "  why: the model was exported for that size\n"
            "  do:  ask for 4 there, or export the model with a free dimension.",
        ),
    ],
)
def test_a_shape_that_contradicts_the_model_is_refused(shapes: dict[str, list[int]], text: str) -> None:
    assert refusal(model(RELU), ShapeError, shapes=shapes) == text


def external(folder: Path, location: str) -> Path:
    """A model whose weight is said to be at ``location``."""
    proto = model(helper.make_node("MatMul", ["x", "w"], ["y"]), weights={"w": np.ones((4, 2), np.float32)})
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    path = folder / "net.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def test_missing_external_data_is_named(tmp_path: Path) -> None:
    assert refusal(external(tmp_path, "w.bin"), ExternalDataError) == (
        '[BYOC-202] the data of tensor "w" is missing: there is no file "w.bin" beside the model\n'
        "  why: its weights are kept in a file of their own\n"
        "  do:  put that file beside the model, or export the model with its weights inside."
    )


@pytest.mark.parametrize("escape", ["absolute", "dots", "symlink", "backslash"])
def test_external_data_outside_the_folder_is_never_read(tmp_path: Path, escape: str) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside.bin"
    inside.mkdir()
    outside.write_bytes(bytes(32))
    (inside / "link.bin").symlink_to(outside)
    location = {
        "absolute": str(outside), "dots": "../outside.bin", "symlink": "link.bin", "backslash": "..\\outside.bin",
    }[escape]  # fmt: skip
    text = refusal(external(inside, location), ExternalDataError)
    assert text.splitlines()[0] == f'[BYOC-202] the data of tensor "w" is at "{location}", outside the model\'s folder'


def test_external_data_that_is_too_short_is_refused(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(31))
    text = refusal(external(tmp_path, "w.bin"), ExternalDataError)
    assert '  why: it needs 32 bytes at offset 0 of "w.bin", which holds 31' in text


def test_external_data_of_a_model_without_a_folder_is_refused(tmp_path: Path) -> None:
    data = external(tmp_path, "w.bin").read_bytes()
    assert "has no folder to look in" in refusal(data, ExternalDataError)


def test_external_data_is_found_beside_the_model_and_does_not_change_the_digest(tmp_path: Path) -> None:
    path = external(tmp_path, "w.bin")
    (tmp_path / "w.bin").write_bytes(np.ones((4, 2), np.float32).tobytes())
    within = model(helper.make_node("MatMul", ["x", "w"], ["y"]), weights={"w": np.ones((4, 2), np.float32)})
    assert import_model(path).digest == import_model(within).digest


def test_string_tensors_are_refused() -> None:
    proto = model(RELU)
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.STRING
    assert "tensors of type string" in refusal(proto, UnsupportedModelError)


def test_a_weight_with_a_negative_dimension_is_refused() -> None:
    proto = model(helper.make_node("MatMul", ["x", "w"], ["y"]), weights={"w": np.ones((4, 2), np.float32)})
    proto.graph.initializer[0].dims[0] = -4
    assert "does not fit its shape [-4, 2] of float32" in refusal(proto, ModelFileError)


def test_a_weight_whose_bytes_do_not_fit_its_shape_is_refused() -> None:
    proto = model(helper.make_node("MatMul", ["x", "w"], ["y"]), weights={"w": np.ones((4, 2), np.float32)})
    proto.graph.initializer[0].raw_data = bytes(7)
    assert 'the data of tensor "w" does not fit its shape [4, 2]' in refusal(proto, ModelFileError)
