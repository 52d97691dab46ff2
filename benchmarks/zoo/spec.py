"""What runs a model: ``onnxruntime``, ``openvino``, ``host``, or codegens of byoc in their order of priority.

``float/RUNNER`` runs what a quantised model was made from.
"""

from __future__ import annotations

from dataclasses import dataclass

FOREIGN = ("onnxruntime", "openvino")
OF_FLOAT = "float/"


@dataclass(frozen=True)
class Runner:
    """One way to run a model, as it was written: ``dnnl+csource``, ``dnnl:precision=bf16``, ``csource@cost``.

    Codegens are joined by ``+``; options of one follow it after ``:``; ``@`` names the policy of the plan.
    """

    text: str
    targets: tuple[str, ...]
    options: dict[str, dict[str, str]]
    policy: str

    @property
    def foreign(self) -> bool:
        return self.targets[0] in FOREIGN

    @property
    def is_float32(self) -> bool:
        """Whether it keeps and multiplies what the model has as float32 in float32."""
        return all(options.get("precision", "f32") == "f32" for options in self.options.values())

    @property
    def of_float(self) -> bool:
        return self.text.startswith(OF_FLOAT)

    @property
    def file_name(self) -> str:
        return "".join(c if c.isalnum() or c in "-._+@=" else "_" for c in self.text)


def parse(text: str) -> Runner:
    """Raises :class:`ValueError` for a text that is no runner."""
    body, _, policy = text.removeprefix(OF_FLOAT).partition("@")
    targets, options = [], {}
    for part in body.split("+"):
        name, *pairs = part.split(":")
        if not name or not all("=" in pair for pair in pairs):
            raise ValueError(f'"{text}" is no runner; write it as onnxruntime, host, dnnl+csource or dnnl:option=value')
        targets.append(name)
        options[name] = dict(pair.split("=", 1) for pair in pairs)
    if len(targets) > 1 and any(name in FOREIGN for name in targets):
        raise ValueError(f'"{text}" mixes a rival with codegens')
    return Runner(text, tuple(targets), {n: o for n, o in options.items() if o}, policy or "priority")
