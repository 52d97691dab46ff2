"""``--precision``: the option ``precision`` of every target that has one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from byoc.errors import OptionError

Options = dict[str, dict[str, str]]


def with_precision(options: Mapping[str, Mapping[str, str]], targets: Sequence[str], precision: str | None) -> Options:
    """The options with this precision; as they are for None.

    Raises :class:`OptionError` where no target has such an option, or one of them is given another way; whether a
    target computes in it is the target's to say.
    """
    given = {name: dict(values) for name, values in options.items()}
    if precision is None:
        return given
    from byoc.registry import find_codegen

    able = [name for name in targets if name != "host" and "precision" in find_codegen(name).codegen.options]
    if not able:
        raise OptionError(
            f"--precision {precision} applies to none of the targets ({', '.join(targets)})",
            "they compute in the types that the model has",
            'drop it, or add a target with an option "precision"; "byoc targets" lists them',
        )
    for name in able:
        own = given.setdefault(name, {}).setdefault("precision", precision)
        if own != precision:
            raise OptionError(
                f"--precision {precision} and --option {name}.precision={own} contradict each other",
                "",
                "drop one of them",
            )
    return given
