"""The page docs/operators.md: which ONNX operators byoc takes, from which opset, and on which target.

    python -m tests.e2e.operators_page

What the importer takes is read off its table.  What a codegen takes is planned: up to `MOST` of the node tests of the
``onnx`` package for each operator, with that codegen and the host.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

import byoc
import byoc.importer
from byoc.importer import table
from byoc.importer.support import has_lowering
from tests.e2e.node_cases import Case, cases, with_constants

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operators.md"
TARGETS = ("csource", "dnnl")
MOST = 3
_CONTROL = {"If": "a branch, or one of them in place", "Loop": "unrolled", "Scan": "unrolled"}
_TITLES = {
    "": "ONNX",
    "ai.onnx.ml": "ai.onnx.ml",
    "ai.onnx.preview": "ai.onnx.preview",
    "ai.onnx.preview.training": "ai.onnx.preview.training",
    "com.microsoft": "com.microsoft, the operators of ONNX Runtime",
}

INTRODUCTION = """# Which operators does byoc take?

*Written by `python -m tests.e2e.operators_page`; do not edit.*

An operator that is not here, or that is marked as refused, makes the import fail with one sentence that names it. So
does an attribute, a type or a run-time argument that a lowering does not take: nothing is ignored. To add an operator,
see [](my-model-has-an-operator-of-its-own.md).

*From* is the oldest opset version of the domain that byoc takes; it takes all newer ones too. *Lowered* operators are
translated one by one; a *function* is replaced by the standard's own definition in terms of other operators. Whatever
is taken runs on the host. The columns of codegens say what they take of the node tests that come with the `onnx`
package (up to three for each operator): every op, some of them, or none; blank where there is no such test.
"""


@dataclass(frozen=True)
class Line:
    """What byoc makes of one operator."""

    domain: str
    operator: str
    since: str
    how: str

    @property
    def taken(self) -> bool:
        return self.since != ""


def lines() -> list[Line]:
    """All operators of the standard and of the importer's table."""
    versions: dict[tuple[str, str], list[int]] = {key: [] for key in table.registered()}
    for schema in onnx.defs.get_all_schemas_with_history():
        if not schema.deprecated:
            versions.setdefault((schema.domain, schema.name), []).append(schema.since_version)
    return [_line(domain, name, sorted(versions[domain, name])) for domain, name in sorted(versions)]


def _line(domain: str, name: str, versions: Sequence[int]) -> Line:
    if (domain, name) in table.refused():
        return Line(domain, name, "", f"refused: {table.refused()[domain, name]}")
    if domain == "" and name in _CONTROL:
        return Line(domain, name, "1", _CONTROL[name])
    lowered = table.registered().get((domain, name))
    if lowered:
        return Line(domain, name, str(max(lowered[0], versions[0] if versions else 1)), "lowered")
    taken = [version for version in versions if has_lowering(domain, name, version)]
    return Line(domain, name, str(taken[0]), "function") if taken else Line(domain, name, "", "refused")


def shares() -> dict[tuple[str, str], dict[str, str]]:
    """Per operator and codegen: "all", "some" or "none" of the ops of its node tests."""
    chosen: dict[tuple[str, str], list[Case]] = {}
    for case in cases():
        graph = case.model.graph
        if len(graph.node) == 1 and "_expanded" not in case.name and all(map(_is_of_numbers, graph.input)):
            own = chosen.setdefault((graph.node[0].domain, graph.node[0].op_type), [])
            if len(own) < MOST and _importable(case) is not None:
                own.append(case)
    never = {key for key, own in chosen.items() if not own} & {
        (line.domain, line.operator) for line in lines() if line.taken
    }
    assert not never, f"the page would say that these are taken, and no test of them is: {sorted(never)}"
    return {key: {t: _share(own, t) for t in TARGETS} for key, own in chosen.items() if own}


def _is_of_numbers(value: onnx.ValueInfoProto) -> bool:
    return value.type.HasField("tensor_type") and value.type.tensor_type.elem_type != onnx.TensorProto.STRING


def _importable(case: Case) -> onnx.ModelProto | None:
    fixed = with_constants(case)
    for model in (case.model, *([fixed[0]] if fixed else [])):
        try:
            byoc.partition(model)
        except byoc.ByocError:
            continue
        return model
    return None


def _share(own: Sequence[Case], target: str) -> str:
    offloaded, total = 0, 0
    for case in own:
        for function in byoc.partition(_importable(case), [target]).functions:
            owners = [op.owner for op in function.ops]
            offloaded += sum(owner == target for owner in owners)
            total += len(owners)
    return "" if not total else "all" if offloaded == total else "some" if offloaded else "none"


def page() -> str:
    """The text of the page."""
    taken, own = lines(), shares()
    text = [INTRODUCTION]
    for domain, title in _TITLES.items():
        rows = [line for line in taken if line.domain == domain]
        if not rows:
            continue
        count = sum(line.taken for line in rows)
        text.append(f"\n## {title}\n\n{count} of {len(rows)} operators.\n")
        text.append(f"| operator | from | how | {' | '.join(TARGETS)} |\n|{'---|' * (3 + len(TARGETS))}")
        text.extend(_rows(rows, own))
    return "\n".join(text) + "\n"


def _rows(rows: Sequence[Line], own: dict[tuple[str, str], dict[str, str]]) -> Iterator[str]:
    for line in rows:
        cells = [own.get((line.domain, line.operator), {}).get(t, "") if line.taken else "" for t in TARGETS]
        yield f"| {line.operator} | {line.since} | {line.how} | {' | '.join(cells)} |"


def main() -> None:
    warnings.simplefilter("ignore")
    text = page()
    fresh = PAGE.with_suffix(".part")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(PAGE)
    print(PAGE)


if __name__ == "__main__":
    main()
