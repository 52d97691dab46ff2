"""dnnl: where other work takes processors, runs leave threads out for which the others would wait."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from tests.codegens.dnnl_ops import needs_onednn, threads_chosen

pytestmark = needs_onednn


def test_threads_that_get_their_processors_are_all_used():
    assert (threads_chosen(2, np.zeros(1000), np.zeros(1000)) == 2).all()


def test_a_stall_of_some_time_slices_is_no_reason_to_leave_a_thread_out():
    waited = np.zeros(1000)
    waited[100::100] = waited[101::100] = 1
    assert (threads_chosen(2, waited, np.zeros(1000)) == 2).all()


def test_beside_a_neighbour_one_thread_is_left_out_until_a_processor_is_idle():
    waited, idle = np.full(1000, 0.7), np.zeros(1000)
    waited[500:], idle[500:] = 0, 1
    chosen = threads_chosen(2, waited, idle)
    assert (chosen[15:500] == 1).mean() > 0.95
    assert (chosen[510:] == 2).all()


def test_where_idle_processors_cannot_be_seen_all_threads_are_tried_every_quarter_of_a_second():
    waited = np.full(1000, 0.7)
    waited[500:] = 0
    chosen = threads_chosen(2, waited, None)
    assert (chosen[15:500] == 1).mean() > 0.9
    assert (chosen[565:] == 2).all()


@pytest.mark.parametrize(("threads", "waited", "used"), [(2, 0.45, 2), (16, 0.05, 16), (16, 0.45, 15), (16, 3.2, 12)])
def test_as_many_are_left_out_as_lack_a_processor_unless_waiting_costs_less_than_a_thread(threads, waited, used):
    chosen = threads_chosen(threads, np.full(100, waited), np.zeros(100))
    assert chosen[-1] == used


def test_idle_processors_that_are_of_no_use_are_looked_for_less_and_less():
    chosen = threads_chosen(2, np.full(1000, 0.7), np.ones(1000))
    assert (chosen[-250:] == 1).mean() > 0.9


ON_ONE_PROCESSOR = """
    import os, time
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    import numpy as np
    from tvm import relax
    from tests.codegens.dnnl_ops import Compiled
    from tests.codegens.ops import random_array, relax_function

    def seconds_of_others():
        others = set(os.listdir("/proc/self/task")) - {str(os.getpid())}
        return sum(int(open(f"/proc/self/task/{t}/schedstat").read().split()[0]) for t in others) * 1e-9

    weights = relax.const(random_array((128, 128, 3, 3)), "float32")
    compiled = Compiled(relax_function(lambda x: relax.op.nn.conv2d(x, weights), ((1, 128, 34, 34), "float32")))
    image = random_array((1, 128, 34, 34))
    expected = compiled(image)[0]
    def run_for(seconds):
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            assert (compiled(image)[0] == expected).all()
    run_for(0.5)
    before, start = seconds_of_others(), time.process_time()
    run_for(1.0)
    print((seconds_of_others() - before) / (time.process_time() - start))
"""


def test_two_threads_on_one_processor_leave_the_second_one_out():
    code = textwrap.dedent(ON_ONE_PROCESSOR)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert run.returncode == 0, run.stderr
    assert float(run.stdout) < 0.2, "the share of the second thread in the work"
