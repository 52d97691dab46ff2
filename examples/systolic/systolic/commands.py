"""The command stream: twenty words for each command, the first of them its code.  device.h names the words."""

from dataclasses import dataclass

import numpy as np

from systolic.machine import ACCUMULATORS, ACTIVATION_SRAM, ARRAY

WORDS = 20
LOAD_WEIGHTS, LOAD_ROWS, MULTIPLY, STORE, ADD, QUANTIZE, DEQUANTIZE = range(7)


@dataclass(frozen=True)
class Convolution:
    """A convolution over one image; a product with a matrix is one over a single pixel."""

    channels: int
    height: int
    width: int
    filters: int
    rows: int
    columns: int
    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int]

    def band(self) -> int:
        """Rows of the result that fit at once into activation memory and accumulators; 0 if not even one does."""
        rows = min(self.rows, ACCUMULATORS // max(1, self.columns))
        while rows and self.channels * self.rows_read(rows) * self.width > ACTIVATION_SRAM:
            rows -= 1
        return rows

    def rows_read(self, rows: int) -> int:
        """Rows of the image that so many rows of the result read, at most."""
        return min(self.height, (rows - 1) * self.strides[0] + self.dilation[0] * (self.kernel[0] - 1) + 1)

    def cycles(self) -> int:
        """The array takes ARRAY channels for ARRAY filters in each cycle, and its depth to fill."""
        passes = -(-self.channels // ARRAY) * -(-self.filters // ARRAY) * self.kernel[0] * self.kernel[1]
        return passes * (self.rows * self.columns + 2 * ARRAY)


def command(code: int, *words: int) -> list[int]:
    """One command, filled up with zeros."""
    return [code, *words, *([0] * (WORDS - 1 - len(words)))]


def convolution_stream(c: Convolution, address: int, x_zero: int, y_zero: int, low: int, high: int) -> np.ndarray:
    """Commands for one image: bands of rows are loaded, and multiplied with ARRAY filters after the other."""
    commands = []
    step = c.band()
    for first in range(0, c.rows, step):
        rows = min(step, c.rows - first)
        top = first * c.strides[0] - c.padding[0]
        begin = max(0, top)
        end = min(c.height, top + (rows - 1) * c.strides[0] + c.dilation[0] * (c.kernel[0] - 1) + 1)
        loaded = max(0, end - begin)
        commands.append(command(LOAD_ROWS, begin * c.width, c.height * c.width, c.channels, loaded * c.width))
        for o in range(0, c.filters, ARRAY):
            count = min(ARRAY, c.filters - o)
            size = c.channels * c.kernel[0] * c.kernel[1]
            commands.append(
                command(
                    MULTIPLY,
                    address + o * size,
                    c.channels,
                    loaded,
                    c.width,
                    *c.kernel,
                    *c.strides,
                    *c.dilation,
                    begin - top,
                    c.padding[1],
                    x_zero,
                    count,
                    rows,
                    c.columns,
                )
            )
            place = o * c.rows * c.columns + first * c.columns
            commands.append(command(STORE, o, count, rows * c.columns, place, c.rows * c.columns, y_zero, low, high))
    return np.array(commands, np.int64).reshape(-1)
