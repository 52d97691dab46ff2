"""Helpers of all families in one partition: their names must not clash."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import byoc_codegens.csource
import numpy as np
from tvm import relax

from tests.codegens.ops import check_against_host, random_array, relax_function

op = relax.op
HELPERS = Path(byoc_codegens.csource.__file__).parent / "c"


def test_families_share_one_translation_unit():
    weight = relax.const(random_array((4, 3, 3, 3)))
    matrix = relax.const(random_array((6, 5)))
    indices = relax.const(np.array([2, 0, 1]))

    def body(x):
        y = op.nn.relu(op.nn.conv2d(x, weight, padding=(1, 1)))
        pooled = op.nn.max_pool2d(y, (2, 2), (2, 2))
        product = op.matmul(y, matrix)
        soft = op.nn.softmax(op.permute_dims(product, [0, 2, 1, 3]), 1)
        chosen = op.take(op.concat([soft, soft], 3), indices, 1)
        padded = op.nn.pad(chosen, [0, 0, 1, 1, 0, 0, 2, 0], "reflect")
        spread = op.variance(op.mean(padded, [1, 3], True), [0, 2])
        return [pooled, spread, op.argmax(soft, 2), op.cumsum(op.tanh(padded), 1), op.image.resize2d(pooled, (5, 7))]

    check_against_host(relax_function(body, ((2, 3, 6, 6), "float32")), random_array((2, 3, 6, 6)), rtol=1e-4)


def test_no_two_helper_files_define_one_name():
    pattern = re.compile(r"^#define (\w+)|^(?:static|typedef)[^;{(=]*?(csource_\w+)\(|^enum \{ (CSOURCE_\w+) =", re.M)
    defined = {
        f.stem: {n for groups in pattern.findall(f.read_text(encoding="utf-8")) for n in groups if n}
        for f in HELPERS.glob("*.c")
    }
    assert sum(map(len, defined.values())) > 50
    for (one, names), (other, others) in itertools.combinations(sorted(defined.items()), 2):
        assert not names & others, f"{one}.c and {other}.c both define {names & others}"
