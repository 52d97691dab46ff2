"""dnnl: beside other work a run leaves a thread out, as long as that is quicker."""

from __future__ import annotations

import numpy as np

from tests.codegens.dnnl_ops import fewer_threads, needs_onednn

pytestmark = needs_onednn
MS = 1e-3


def test_runs_of_the_usual_length_use_all_threads():
    steady = np.random.default_rng(0).uniform(2 * MS, 2.8 * MS, 2000)
    assert not fewer_threads(steady, 2 * steady).any()


def test_a_single_stall_is_no_reason_to_leave_a_thread_out():
    times = np.full(1000, 2 * MS)
    times[::100] = 10.0
    assert not fewer_threads(times, 2 * times).any()


def test_beside_a_neighbour_nearly_all_runs_leave_a_thread_out_until_it_is_gone():
    crowded = np.full(3000, 2 * MS)
    crowded[500:2000] = 8 * MS
    chosen = fewer_threads(crowded, np.full(3000, 4 * MS))
    assert not chosen[:500].any()
    assert chosen[520:2000].mean() > 0.8
    assert not chosen[2060:].any()


def test_what_is_quicker_with_all_threads_even_beside_a_neighbour_keeps_them():
    crowded = np.full(3000, 2 * MS)
    crowded[500:] = 3.8 * MS
    assert fewer_threads(crowded, np.full(3000, 4 * MS)).mean() < 0.1


def test_a_neighbour_that_comes_and_goes_is_borne_where_runs_take_less_on_average():
    uneven = np.full(3000, 2 * MS)
    uneven[500::5] = 6 * MS
    assert fewer_threads(uneven, np.full(3000, 4 * MS)).mean() < 0.1
