"""Tensors of half precision around kernels that compute in float."""

from __future__ import annotations

from typing import Any

from byoc_codegens.csource.c_text import c_helper

from byoc import Match, Value


class Floats:
    """The tensors of a match as floats: float32 ones themselves, float16 ones through scratch memory.

    Ask for the tensors, then put the kernel's statements between the conversions with `around`.
    """

    def __init__(self, m: Match) -> None:
        self.m = m
        self._before: list[str] = []
        self._after: list[str] = []
        self._known: dict[int, str] = {}
        self._result = ""

    def read(self, value: Value) -> str:
        """C expression of ``const float *`` for a tensor that the match reads."""
        if value.dtype == "float32":
            return str(value)
        if id(value) not in self._known:
            name = self._scratch(value)
            self._before.append(f"csource_floats_of_halves({value}, {value.size}, {name});")
            self._known[id(value)] = name
        return self._known[id(value)]

    def result(self) -> str:
        """C expression of ``float *`` for the result."""
        out = self.m.out
        if out.dtype == "float32":
            return str(out)
        if not self._result:
            self._result = self._scratch(out)
            self._after.append(f"csource_halves_of_floats({self._result}, {out.size}, {out});")
        return self._result

    def _scratch(self, value: Value) -> str:
        self.m.helper(c_helper("halves"))
        size: Any = value.size
        return f"((float *){self.m.scratch(size * 4)})"

    def around(self, statements: str) -> str:
        """The kernel's statements with the conversions before and after."""
        return "\n".join([*self._before, statements, *self._after])
