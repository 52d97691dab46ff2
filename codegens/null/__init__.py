"""null: accepts every op and computes zeros, so that partitioning can be tried without a backend."""

from byoc import Codegen, Match, Option, op, register_codegen, reject


class _EveryOp(dict):
    """A pattern for each Relax op."""

    def __init__(self) -> None:
        import tvm

        names = sorted(str(name) for name in tvm.ir.Op.list_op_names())
        ops = [n.removeprefix("relax.") for n in names if n.startswith(("relax.", "byoc."))]
        super().__init__({name: op(name)(...) for name in ops})


@register_codegen("null", version="1")
class Null(Codegen):
    """Accepts every op and computes zeros: for trying out partitions."""

    for_tests = True
    patterns = _EveryOp()
    options = {"refuse": Option("", "comma-separated ops that it refuses")}

    def check(self, m: Match) -> object:
        if m.root.op in str(m.options["refuse"]).split(","):
            return reject(f"told to refuse {m.root.op}", at=m.out)
        for value in m.outs:
            if value.dtype in ("", "shape") or value.shape is None:
                return reject("its result has no known shape", at=value)
        return None

    def emit_match(self, m: Match) -> str:
        return "\n".join(f"memset({v}, 0, sizeof(*{v}) * (size_t)({v.size}));" for v in m.outs)
