"""Which operators go through TVM's converters as they are, some after a check of what these get wrong."""

from __future__ import annotations

import numpy as np

from byoc.importer.node_view import NodeView
from byoc.importer.stock import convert, stock
from byoc.importer.table import Results, lowers
from byoc.importer.values import Known

_AS_THEY_ARE = (
    "Compress",
    "DequantizeLinear",
    "GridSample",
    "MaxRoiPool",
    "QuantizeLinear",
    "Unique",
)

for _operator in _AS_THEY_ARE:
    stock(_operator)


@lowers("RoiAlign")
def _roi_align(view: NodeView) -> Results:
    if view.attribute("mode", "avg") != "avg":
        view.refuse('its mode is "max", which TVM computes from other samples than the standard')
    return convert(view)


@lowers("MaxUnpool")
def _max_unpool(view: NodeView) -> Results:
    if view.has(2):
        view.refuse("its output shape is an input")
    return convert(view)


@lowers("NonMaxSuppression")
def _non_max_suppression(view: NodeView) -> Results:
    for index, meaning in enumerate(("max_output_boxes_per_class", "iou_threshold", "score_threshold"), start=2):
        if view.has(index):
            view.require_known(index, f'"{meaning}"')
    threshold = view.known(3) if view.has(3) else np.zeros((), np.float32)
    # TVM drops boxes that overlap as much as the threshold, the standard only those that overlap more.
    above = np.nextafter(np.asarray(threshold, np.float32), np.float32(np.inf))
    view.inputs = [*view.inputs, *[None] * (4 - len(view.inputs))]
    view.inputs[3] = Known(above)
    return convert(view)
