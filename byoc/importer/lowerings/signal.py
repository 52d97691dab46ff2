"""Rearranging by index: blocks to an image, reversed sequences; determinants; counts of n-grams."""

from __future__ import annotations

import itertools
import math

import numpy as np
from tvm import relax

from byoc.importer.lowerings.reshape import shape_expr
from byoc.importer.node_view import NodeView
from byoc.importer.table import lowers
from byoc.importer.values import Value, constant

op = relax.op


@lowers("Col2Im")
def _blocks_to_image(view: NodeView) -> Value:
    """[N, C * block, L] to [N, C, image...]: every block added at its place, padding cut off."""
    image = [int(extent) for extent in view.require_known(1, '"image_shape"')]
    block = [int(extent) for extent in view.require_known(2, '"block_shape"')]
    rank = len(image)
    strides = view.attribute("strides") or [1] * rank
    dilations = view.attribute("dilations") or [1] * rank
    pads = view.attribute("pads") or [0] * (2 * rank)
    dims = view.shape(0)
    if min((*strides, *dilations, *block), default=1) < 1:
        view.refuse(f"its strides {strides}, dilations {dilations} and blocks {block} must be positive")
    if not all(isinstance(dim, int) for dim in dims):
        view.refuse(f"its input has the symbolic shape {[str(d) for d in dims]}")
    batch, rows, count = (int(dim) for dim in dims)
    size, channels = math.prod(block), rows // math.prod(block)
    padded = [extent + pads[axis] + pads[axis + rank] for axis, extent in enumerate(image)]
    view.allow_table(count, max(1, size), rank, what="a table of the place of each value")
    starts = [range(0, padded[axis] - dilations[axis] * (block[axis] - 1), strides[axis]) for axis in range(rank)]
    if rows != size * channels or math.prod(len(s) for s in starts) != count:
        view.refuse(f"its input {dims} does not fit blocks {block} in an image {image}")
    corners = np.array(list(itertools.product(*starts))).reshape(count, rank)
    inside = np.array(list(np.ndindex(*block))) * np.array(dilations)
    places = (inside[:, None, :] + corners[None, :, :]).reshape(-1, rank)
    flat = np.ravel_multi_index(tuple(places.T), padded).reshape(-1, 1).astype(np.int64)
    x = view.emit(op.reshape(view.tensor(0), shape_expr([batch, channels, size, count])))
    x = view.emit(op.permute_dims(x, [2, 3, 0, 1]))
    x = view.emit(op.reshape(x, shape_expr([size * count, batch * channels])))
    zeros = view.emit(op.zeros(shape_expr([int(np.prod(padded)), batch * channels]), view.dtype(0)))
    whole = view.emit(op.scatter_nd(zeros, constant(flat), x, "add"))
    whole = view.emit(op.permute_dims(whole))
    whole = view.emit(op.reshape(whole, shape_expr([batch, channels, *padded])))
    if padded == image:
        return whole
    ends = [pads[axis] + extent for axis, extent in enumerate(image)]
    return op.strided_slice(whole, list(range(2, 2 + rank)), pads[:rank], ends)


@lowers("ReverseSequence")
def _reverse_sequence(view: NodeView) -> Value:
    time, batch = view.attribute("time_axis", 0), view.attribute("batch_axis", 1)
    dims = view.shape(0)
    if {time, batch} != {0, 1}:
        view.refuse(f"its time_axis {time} and batch_axis {batch} are not 0 and 1")
    extent = dims[time]
    if not all(isinstance(dim, int) for dim in dims):
        view.refuse(f"its input has the symbolic shape {[str(d) for d in dims]}")
    lengths = view.emit(op.astype(view.tensor(1), "int64"))
    shape = [1, 1]
    shape[batch] = int(dims[batch])
    lengths = view.emit(op.reshape(lengths, shape_expr(shape)))
    view.allow_table(int(extent), what="a table of its positions")
    steps = np.arange(int(extent)).reshape([-1, 1] if time == 0 else [1, -1])
    mirrored = op.subtract(op.subtract(lengths, relax.const(1, "int64")), constant(steps))
    source = view.emit(op.where(op.less(constant(steps), lengths), mirrored, constant(steps)))
    source = view.emit(op.reshape(source, shape_expr([*dims[:2], *[1] * (len(dims) - 2)])))
    source = view.emit(op.broadcast_to(source, shape_expr(dims)))
    return op.gather_elements(view.tensor(0), source, time)


_LARGEST = 4  # a determinant by minors has as many terms as a row has permutations


@lowers("Det")
def _determinant(view: NodeView) -> Value:
    dims = view.shape(0)
    size = dims[-1]
    if len(dims) < 2 or not isinstance(size, int) or dims[-2] != size or not 1 <= size <= _LARGEST:
        view.refuse(f"its matrices are of {dims[-2:]}; the importer takes squares of up to {_LARGEST} rows")
    x, rank = view.tensor(0), len(dims)
    cells = {}
    for row, column in np.ndindex(size, size):
        cut = op.strided_slice(x, [rank - 2, rank - 1], [row, column], [row + 1, column + 1])
        cells[row, column] = view.emit(op.squeeze(view.emit(cut), [rank - 2, rank - 1]))

    def minor(row: int, columns: tuple[int, ...]) -> relax.Expr:
        if len(columns) == 1:
            return cells[row, columns[0]]
        total = None
        for place, column in enumerate(columns):
            rest = minor(row + 1, columns[:place] + columns[place + 1 :])
            term = view.emit(op.multiply(cells[row, column], rest))
            total = term if total is None else view.emit((op.subtract if place % 2 else op.add)(total, term))
        return total

    return minor(0, tuple(range(size)))


_MODES = ("TF", "IDF", "TFIDF")


@lowers("TfIdfVectorizer")
def _count_ngrams(view: NodeView) -> Value:
    """How often each n-gram of the pool occurs in each row, also with up to ``max_skip_count`` items left out."""
    if "pool_strings" in view.attributes:
        view.refuse("its pool is of strings; the importer takes numbers")
    pool, starts = view.attribute("pool_int64s"), [*view.attribute("ngram_counts")]
    indexes, weights, mode = view.attribute("ngram_indexes"), view.attribute("weights"), view.attribute("mode")
    least, most, skips = (view.attribute(name) for name in ("min_gram_length", "max_gram_length", "max_skip_count"))
    dims = view.shape(0)
    if mode not in _MODES or not all(isinstance(dim, int) for dim in dims):
        view.refuse(f'its mode is "{mode}" and its input has the shape {[str(d) for d in dims]}')
    length = int(dims[-1]) if dims else 1
    rows = view.emit(op.reshape(view.tensor(0), shape_expr([*dims[:-1], length, 1])))
    size = max(indexes) + 1
    view.allow_table(size, max(1, len(indexes)), what="the places of its n-grams")
    total = view.emit(op.zeros(shape_expr([*dims[:-1], size]), "float32"))
    seen = 0
    for gram, start in enumerate(starts, start=1):
        end = starts[gram] if gram < len(starts) else len(pool)
        grams = np.array(pool[start:end], view.builder.numpy_dtype_of(view.value(0))).reshape(-1, gram)
        targets = indexes[seen : seen + len(grams)]
        seen += len(grams)
        if not least <= gram <= most or not len(grams):
            continue
        placed = np.zeros((len(grams), size), np.float32)
        placed[np.arange(len(grams)), targets] = 1.0
        for step in range(1, (min(skips, length) if gram > 1 else 0) + 2):
            windows = length - (gram - 1) * step
            if windows > 0:
                found = _occurrences(view, rows, grams, step, windows)
                total = view.emit(op.add(total, view.emit(op.matmul(found, constant(placed)))))
    scale = np.ones(size, np.float32)
    if weights:
        scale[indexes] = weights
    if mode == "IDF":
        total = view.emit(op.astype(op.greater(total, relax.const(0.0, "float32")), "float32"))
    return total if mode == "TF" else op.multiply(total, constant(scale))


def _occurrences(view: NodeView, rows: relax.Expr, grams: np.ndarray, step: int, windows: int) -> relax.Expr:
    """[..., grams]: how often each occurs in [..., length, 1], its items ``step`` apart."""
    axis = len(view.shape(0)) - 1 if view.shape(0) else 0
    hit = None
    for place in range(grams.shape[1]):
        cut = view.emit(op.strided_slice(rows, [axis], [place * step], [place * step + windows]))
        same = view.emit(op.equal(cut, constant(grams[:, place])))
        hit = same if hit is None else view.emit(op.logical_and(hit, same))
    return view.emit(op.sum(view.emit(op.astype(hit, "float32")), [axis]))
