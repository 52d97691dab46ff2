"""What the caller decides about a quantisation."""

from __future__ import annotations

from dataclasses import dataclass

from byoc.errors import UsageError, did_you_mean
from byoc.quant.observers import DEFAULT_METHOD, OBSERVERS


@dataclass(frozen=True)
class Settings:
    """Settings of a quantisation.

    Attributes
    ----------
    method: observer of activations: one of ``mse``, ``klj``, ``minmax``, ``percentile``.
    per_channel: one step for each output channel of a weight, instead of one for the tensor.
    bits: 8 or 16, of weights and activations.
    power_of_two: steps are powers of two, for hardware without multipliers.
    progressive: layer by layer, each on the rounded results of those before it; else all from one float pass.
    bias_correction: biases take up what rounding shifts the means of channels by; ``None``: with all methods but
        ``klj``, which clips so much that the few elements far out would move all others.  Only where `progressive`.
    equalize: channels that a depthwise convolution reads are brought to one range; ``None``: with ``minmax``, whose
        threshold stays what it is, so that no channel gets coarser, and ``klj``, which then clips less.  Only where
        `per_channel`.
    multiplier_bits: width of the integer multipliers in the parameter file.
    keep: nodes that stay float: ``NODE``, ``op:TYPE`` or ``/regex/``.
    """

    method: str = DEFAULT_METHOD
    per_channel: bool = True
    bits: int = 8
    power_of_two: bool = False
    progressive: bool = True
    bias_correction: bool | None = None
    equalize: bool | None = None
    multiplier_bits: int = 31
    keep: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.method not in OBSERVERS:
            near = did_you_mean(self.method, OBSERVERS)
            raise UsageError(f'there is no calibration method "{self.method}"', "", near)
        if self.bits not in (8, 16):
            raise UsageError(f"quantising to {self.bits} bits is not possible", "", "use 8 or 16")
        if not 8 <= self.multiplier_bits <= 31:
            raise UsageError(f"multipliers of {self.multiplier_bits} bits are not possible", "", "use 8 to 31")

    @property
    def corrects_biases(self) -> bool:
        """Whether biases are corrected."""
        chosen = self.method != "klj" if self.bias_correction is None else self.bias_correction
        return chosen and self.progressive

    @property
    def equalizes(self) -> bool:
        """Whether channels are brought to one range."""
        chosen = self.method in ("minmax", "klj") if self.equalize is None else self.equalize
        return chosen and self.per_channel

    def levels(self, unsigned: bool) -> int:
        """The largest integer of an activation."""
        return 2**self.bits - 1 if unsigned else 2 ** (self.bits - 1) - 1

    def dtype(self, unsigned: bool) -> str:
        """The integer type of an activation."""
        return f"{'u' if unsigned else ''}int{self.bits}"
