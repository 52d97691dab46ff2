"""Fourier transforms and filter banks, against numpy's FFT and the definitions of the standard."""

from __future__ import annotations

import numpy as np
import pytest

import byoc
from byoc.errors import UnsupportedModelError
from tests.imported import make_model, node, run_on_host

RNG = np.random.default_rng(3)


def _complex(pairs: np.ndarray) -> np.ndarray:
    return pairs[..., 0] + 1j * pairs[..., 1]


def _dft(
    x: np.ndarray, shape: list[object], opset: int = 20, length: int | None = None, **attributes: int
) -> np.ndarray:
    inputs, weights = "x", {}
    if length is not None:
        inputs, weights = "x length", {"length": np.array(length)}
    model = make_model([node("DFT", inputs, **attributes)], {"x": ("float32", shape)}, weights=weights, opset=opset)
    (y,) = run_on_host(model, {"x": x})
    assert y.dtype == np.float32
    return y


@pytest.mark.parametrize("length", [None, 5, 12])
@pytest.mark.parametrize("parts", [1, 2])
def test_a_transform_cuts_or_fills_its_signal_to_its_length(parts: int, length: int | None) -> None:
    x = RNG.standard_normal((3, 8, parts)).astype(np.float32)
    signal = _complex(x) if parts == 2 else x[..., 0]
    y = _dft(x, ["n", 8, parts], length=length)
    np.testing.assert_allclose(_complex(y), np.fft.fft(signal, length, axis=1), atol=1e-5)


def test_a_real_signal_needs_one_side_only() -> None:
    x = RNG.standard_normal((2, 9, 1)).astype(np.float32)
    y = _dft(x, [2, 9, 1], onesided=1)
    np.testing.assert_allclose(_complex(y), np.fft.rfft(x[..., 0]), atol=1e-5)


def test_the_axis_is_an_attribute_up_to_opset_19() -> None:
    x = RNG.standard_normal((4, 3, 5, 1)).astype(np.float32)
    y = _dft(x, [4, 3, 5, 1], opset=17, axis=0)
    np.testing.assert_allclose(_complex(y), np.fft.fft(x[..., 0], axis=0), atol=1e-5)


def test_an_inverse_transform_restores_the_signal() -> None:
    x = RNG.standard_normal((2, 7, 2)).astype(np.float32)
    np.testing.assert_allclose(_complex(_dft(x, [2, 7, 2], inverse=1)), np.fft.ifft(_complex(x)), atol=1e-6)


@pytest.mark.parametrize("length", [None, 9])
def test_an_inverse_of_one_side_is_real(length: int | None) -> None:
    x = RNG.standard_normal((2, 5, 2)).astype(np.float32)
    y = _dft(x, [2, 5, 2], length=length, inverse=1, onesided=1)
    np.testing.assert_allclose(y[..., 0], np.fft.irfft(_complex(x), length), atol=1e-6)


def test_sines_of_long_signals_keep_their_digits() -> None:
    x = np.zeros((1, 2048, 1), np.float32)
    x[0, 2047] = 1
    np.testing.assert_allclose(_complex(_dft(x, [1, 2048, 1])), np.fft.fft(x[..., 0]), atol=2e-7)


@pytest.mark.parametrize("windowed", [True, False])
def test_a_short_time_transform_is_one_of_each_windowed_frame(windowed: bool) -> None:
    x = RNG.standard_normal((2, 20, 1)).astype(np.float32)
    window = np.hanning(8).astype(np.float32) if windowed else np.ones(8, np.float32)
    stft = node("STFT", "x step window" if windowed else "x step _ length")
    weights = {"step": np.array(3), "window": window} if windowed else {"step": np.array(3), "length": np.array(8)}
    (y,) = run_on_host(make_model([stft], {"x": ("float32", [2, "samples", 1])}, weights=weights, opset=17), {"x": x})
    frames = np.stack([x[:, at : at + 8, 0] * window for at in range(0, 13, 3)], 1)
    assert y.shape == (2, 5, 5, 2)
    np.testing.assert_allclose(_complex(y), np.fft.rfft(frames), atol=1e-5)


def test_filters_on_the_mel_scale_are_triangles_of_height_one() -> None:
    scalars = {"bins": 8, "length": 64, "rate": 8192, "low": 0.0, "high": 4096.0}
    weights = {name: np.array(v, np.int64 if isinstance(v, int) else np.float32) for name, v in scalars.items()}
    nodes = [node("MelWeightMatrix", " ".join(scalars), "m"), node("MatMul", "x m")]
    model = make_model(nodes, {"x": ("float32", [33, 33])}, weights=weights, opset=17)
    (y,) = run_on_host(model, {"x": np.eye(33, dtype=np.float32)})
    assert y.max(0).tolist() == [1] * 8
    assert y[:4, 0].tolist() == [0, 1, 0, 0]
    np.testing.assert_allclose(y[15:27, 7], [0, 0.2, 0.4, 0.6, 0.8, 1, 0.8, 0.6, 0.4, 0.2, 0, 0], rtol=1e-6)


def test_a_one_sided_transform_of_a_complex_signal_is_refused() -> None:
    model = make_model([node("DFT", "x", onesided=1)], {"x": ("float32", [2, 8, 2])}, opset=20)
    with pytest.raises(UnsupportedModelError, match="a one-sided transform takes no input of 2 parts"):
        byoc.partition(model)


@pytest.mark.parametrize(
    ("shape", "why"), [([9], "its signal has rank 1, not 2 or 3"), ([1, 5, 1], "frames of 8 samples are longer than")]
)
def test_a_signal_without_a_whole_frame_is_refused(shape: list[int], why: str) -> None:
    weights = {"step": np.array(3), "length": np.array(8)}
    model = make_model([node("STFT", "x step _ length")], {"x": ("float32", shape)}, weights=weights, opset=17)
    with pytest.raises(UnsupportedModelError, match=why):
        byoc.partition(model)


def test_half_precision_is_transformed_in_single() -> None:
    x = RNG.standard_normal((1, 64, 1)).astype(np.float16)
    model = make_model([node("DFT", "x")], {"x": ("float16", [1, 64, 1])}, opset=20)
    (y,) = run_on_host(model, {"x": x})
    assert y.dtype == np.float16
    np.testing.assert_allclose(_complex(y.astype(np.float64)), np.fft.fft(x[..., 0]), atol=0.01)
