"""Which ops of the plan each host kernel computes, noted while TVM compiles.

TVM names kernels after the TIR that it fuses, and says nowhere what they stem from; but its passes keep the names of
variables up to fusion.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import tvm
from tvm import relax

from byoc.artifact import KernelRecord
from byoc.graph import Graph
from byoc.relax_graph import blocks_of


@contextmanager
def noting_kernels(
    graphs: Mapping[str, Graph], absorbed: Mapping[str, tuple[str, ...]]
) -> Iterator[list[KernelRecord]]:
    """While the context lasts, compiling a module that keeps the graphs' variables fills the list in program order.

    `absorbed` names, by the variable of a result, the variables of the other ops that its kernel computes.
    """
    kernels: list[KernelRecord] = []
    places = {name: _places(graph) for name, graph in graphs.items()}

    before: dict[str, list[tuple[str, str]]] = {}

    @tvm.ir.instrument.pass_instrument
    class AroundFusion:
        def run_before_pass(self, module: Any, info: Any) -> None:
            if str(info.name) == "FuseOps":
                before.update({name: [c for c in _calls(module[name]) if c[1]] for name in places})

        def run_after_pass(self, module: Any, info: Any) -> None:
            if str(info.name) == "FuseOps":
                kernels[:] = [
                    k for name, place in places.items() for k in _kernels(module, name, before[name], place, absorbed)
                ]

    with tvm.transform.PassContext(opt_level=3, instruments=[AroundFusion()]):
        yield kernels


def _places(graph: Graph) -> dict[str, int]:
    places: dict[str, int] = {}
    for node in graph.nodes:
        places.setdefault(str(node.ref.binding.var.name), node.index)
    return places


def _calls(function: Any) -> Iterator[tuple[str, str]]:
    """(variable, kernel or fused function called) in program order."""
    for block in blocks_of(function.body):
        for binding in block.bindings:
            call = binding.value
            if isinstance(call, relax.Call):
                callee = ""
                if isinstance(call.op, relax.GlobalVar):
                    callee = str(call.op.name_hint)
                elif isinstance(call.op, tvm.ir.Op) and str(call.op.name) == "relax.call_tir":
                    callee = str(call.args[0].name_hint)
                yield str(binding.var.name), callee


def _kernels(
    module: Any,
    entry: str,
    before: list[tuple[str, str]],
    places: Mapping[str, int],
    absorbed: Mapping[str, tuple[str, ...]],
) -> Iterator[KernelRecord]:
    """A call of a kernel that stems from no op of its own (an op may become several) belongs to the next one's."""
    sites: list[tuple[str, list[tuple[str, str]]]] = []
    for variable, callee in _calls(module[entry]):
        function = module[callee] if callee else None
        if isinstance(function, relax.Function):
            sites.append((callee, [c for c in _calls(function) if c[1]]))
        elif function is not None:
            sites.append((callee, [(variable, callee)]))
    waiting: list[str] = []
    for (callee, _), names in zip(sites, _Sites(before).names_of(sites), strict=True):
        known = [n for name in names for n in (*absorbed.get(name, ()), name) if n in places]
        ops = tuple(dict.fromkeys(places[name] for name in known))
        if not ops:
            waiting.append(callee)
            continue
        yield from (KernelRecord(entry, earlier, ops) for earlier in waiting)
        waiting = []
        yield KernelRecord(entry, callee, ops)


class _Sites:
    """Finds the variables that each call of a fused function stands for.

    Fusion renames the last variable of a group, and groups that compute the same share one function, which has the
    names of the first of them.  The others repeat the first one's steps at the same distances (as layers of a model
    do); where they do not, they get the earliest variables of the right kernels that are left.
    """

    def __init__(self, before: list[tuple[str, str]]) -> None:
        self.before = before
        self.place = {name: i for i, (name, _) in enumerate(before)}
        self.taken: set[int] = set()
        self.steps: dict[str, list[int]] = {}

    def names_of(self, sites: list[tuple[str, list[tuple[str, str]]]]) -> list[list[str]]:
        first: dict[str, int] = {}
        for number, (callee, _) in enumerate(sites):
            first.setdefault(callee, number)
        # What is certain comes first: names that stand in a function are those of its first call.
        known = {i: self._first(*sites[i]) for i in first.values()}
        for number, (callee, members) in enumerate(sites):
            if number not in known:
                known[number] = self._again(callee, members)
        return [[self.before[i][0] for i in known[number]] for number in range(len(sites))]

    def _first(self, callee: str, members: list[tuple[str, str]]) -> list[int]:
        found = [self.place[name] for name, kernel in members if self._is(name, kernel)]
        if len(found) < len(members):
            found += self._earliest(members[-1][1], max(found, default=-1))
        self.taken.update(found)
        self.steps[callee] = found
        return found

    def _is(self, name: str, kernel: str) -> bool:
        return name in self.place and self.before[self.place[name]][1] == kernel

    def _earliest(self, kernel: str, after: int) -> list[int]:
        fits = (i for i in range(after + 1, len(self.before)) if self.before[i][1] == kernel and i not in self.taken)
        return [i for i in (next(fits, -1),) if i >= 0]

    def _again(self, callee: str, members: list[tuple[str, str]]) -> list[int]:
        if len(members) == 1 and self._is(*members[0]) and self.place[members[0][0]] not in self.taken:
            found = [self.place[members[0][0]]]
        else:
            found = self._shifted(self.steps[callee])
        for _, kernel in members if not found else ():
            found += self._earliest(kernel, -1)
            self.taken.update(found)
        self.taken.update(found)
        return found

    def _shifted(self, steps: list[int]) -> list[int]:
        kernels = [self.before[i][1] for i in steps]
        for shift in range(1, len(self.before) - max(steps, default=len(self.before))):
            moved = [i + shift for i in steps]
            if not self.taken.intersection(moved) and [self.before[i][1] for i in moved] == kernels:
                return moved
        return []
