"""What differs between two plans, such as before and after a change of the model or of a codegen.

Ops are paired by function, node name and Relax op, in their order where several share these.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from byoc.explain.rows import counted, node_label, shares
from byoc.explain.text import counts_text
from byoc.partitioner.plan import HOST, percent
from byoc.text_table import bytes_text, flops_text, table

if TYPE_CHECKING:
    from byoc.partitioner.plan import Plan, PlannedOp

Key = tuple[str, str, str, int]


@dataclass(frozen=True)
class Move:
    """Ops that changed their owner, with the reason that the new plan gives for it (empty: the new owner took them)."""

    before: str
    after: str
    stage: str
    reason: str
    ops: int
    flops: int
    op_types: tuple[tuple[str, int], ...]
    first_node: str


@dataclass(frozen=True)
class Difference:
    """From one plan to another; `added` and `removed` count ops by Relax name."""

    asked: tuple[tuple[str, str, str], ...]
    owners: tuple[tuple[str, int, int, float, float], ...]
    partitions: tuple[int, int]
    boundary_bytes: tuple[int, int]
    moves: tuple[Move, ...]
    added: tuple[tuple[str, int], ...]
    removed: tuple[tuple[str, int], ...]

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        counts_differ = self.partitions[0] != self.partitions[1] or self.boundary_bytes[0] != self.boundary_bytes[1]
        return not (self.asked or self.moves or self.added or self.removed or counts_differ)


def difference(before: Plan, after: Plan) -> Difference:
    """What changed from `before` to `after`."""
    old, new = _by_key(before), _by_key(after)
    return Difference(
        asked=_asked(before, after),
        owners=_owners(before, after),
        partitions=(_partitions(before), _partitions(after)),
        boundary_bytes=(_boundary_bytes(before), _boundary_bytes(after)),
        moves=_moves(old, new),
        added=counted(op.op for key, op in new.items() if key not in old),
        removed=counted(op.op for key, op in old.items() if key not in new),
    )


def _by_key(plan: Plan) -> dict[Key, PlannedOp]:
    seen: Counter[tuple[str, str, str]] = Counter()
    ops = {}
    for function in plan.functions:
        for op in function.ops:
            name = (function.name, op.node, op.op)
            key = (*name, seen[name])
            ops[key] = op
            seen[name] += 1
    return ops


def _asked(before: Plan, after: Plan) -> tuple[tuple[str, str, str], ...]:
    """(what, before, after) for each difference in what the plans were made from."""
    old, new = _request(before), _request(after)
    return tuple((k, old.get(k, ""), new.get(k, "")) for k in dict.fromkeys((*old, *new)) if old.get(k) != new.get(k))


def _request(plan: Plan) -> dict[str, str]:
    settings = {k.replace("_", "-"): _word(v) for k, v in asdict(plan.settings).items()}
    versions = {f"version of {t.name}": t.version for t in plan.targets}
    options = {f"option {t.name}.{k}": _word(v) for t in plan.targets for k, v in t.options}
    model = {"model": plan.model_name, "model digest": plan.model_digest[:12]}
    return {**model, "targets": ",".join(t.name for t in plan.targets), **versions, **options, **settings}


def _word(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _owners(before: Plan, after: Plan) -> tuple[tuple[str, int, int, float, float], ...]:
    """(owner, ops before, ops after, share of FLOPs before, after)."""
    old, new = ({s.owner: (s.ops, s.flops_share) for s in shares(plan)} for plan in (before, after))
    names = [n for n in dict.fromkeys((*old, *new)) if n != HOST]
    rows = []
    for name in (*names, HOST):
        (ops_old, share_old), (ops_new, share_new) = old.get(name, (0, 0.0)), new.get(name, (0, 0.0))
        rows.append((name, ops_old, ops_new, share_old, share_new))
    return tuple(rows)


def _partitions(plan: Plan) -> int:
    return sum(len(function.partitions) for function in plan.functions)


def _boundary_bytes(plan: Plan) -> int:
    return sum(p.bytes_in + p.bytes_out for function in plan.functions for p in function.partitions)


def _moves(old: Mapping[Key, PlannedOp], new: Mapping[Key, PlannedOp]) -> tuple[Move, ...]:
    groups: dict[tuple[str, str, str, str], list[PlannedOp]] = {}
    for key, op in new.items():
        if key in old and old[key].owner != op.owner:
            stage, reason = _why(old[key].owner, op)
            groups.setdefault((old[key].owner, op.owner, stage, reason), []).append(op)
    moves = [_move(key, ops) for key, ops in groups.items()]
    return tuple(sorted(moves, key=lambda m: (-m.flops, -m.ops, m.before, m.after, m.reason)))


def _why(owner: str, op: PlannedOp) -> tuple[str, str]:
    """Stage and reason with which the former owner lost the op."""
    return next(((v.stage, v.reason) for v in op.verdicts if v.target == owner and not v.accepted), ("", ""))


def _move(key: tuple[str, str, str, str], ops: list[PlannedOp]) -> Move:
    types = counted(op.op_type or op.op for op in ops)
    return Move(*key, len(ops), sum(op.flops for op in ops), types, node_label(ops[0]))


def difference_json(before: Plan, after: Plan) -> dict[str, Any]:
    """The difference as JSON values."""
    found = difference(before, after)
    return {
        "same": found.same,
        "asked": [{"what": what, "before": old, "after": new} for what, old, new in found.asked],
        "owners": [
            dict(zip(("owner", "ops_before", "ops_after", "flops_share_before", "flops_share_after"), row, strict=True))
            for row in found.owners
        ],
        "partitions": {"before": found.partitions[0], "after": found.partitions[1]},
        "boundary_bytes": {"before": found.boundary_bytes[0], "after": found.boundary_bytes[1]},
        "moves": [{**asdict(move), "op_types": dict(move.op_types)} for move in found.moves],
        "added": dict(found.added),
        "removed": dict(found.removed),
    }


def difference_text(before: Plan, after: Plan) -> str:
    """The difference as text."""
    found = difference(before, after)
    if found.same:
        return "The plans do not differ."
    sections = [
        _titled("Asked for", ["", "before", "after"], found.asked, "lll"),
        _titled("Coverage", ["", "before", "after"], list(_coverage_rows(found)), "lrr"),
        _titled(
            "Moved",
            ["ops", "FLOPs", "from", "to", "stage", "types", "first node", "reason"],
            [
                (
                    m.ops,
                    flops_text(m.flops),
                    m.before,
                    m.after,
                    m.stage,
                    counts_text(m.op_types),
                    m.first_node,
                    m.reason,
                )
                for m in found.moves
            ],
            "rrllllll",
        ),
        _titled("Only before", ["op", "count"], found.removed, "lr"),
        _titled("Only after", ["op", "count"], found.added, "lr"),
    ]
    return "\n\n".join(section for section in sections if section)


def _titled(title: str, headers: list[str], rows: Any, sides: str) -> str:
    return f"{title}\n{table(headers, rows, sides)}" if rows else ""


def _coverage_rows(found: Difference) -> Iterable[tuple[str, object, object]]:
    for owner, ops_old, ops_new, share_old, share_new in found.owners:
        yield f"ops of {owner}", ops_old, ops_new
        yield f"FLOPs of {owner}", percent(share_old, 1.0), percent(share_new, 1.0)
    yield ("partitions", *found.partitions)
    yield "across boundaries", bytes_text(found.boundary_bytes[0]), bytes_text(found.boundary_bytes[1])
