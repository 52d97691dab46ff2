"""Flags that shape a language model when it is compiled."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from byoc.errors import UsageError

if TYPE_CHECKING:
    from byoc.llm.model import LanguageModel
    from byoc.llm.settings import Settings

LANGUAGE_FLAGS = [
    click.option("--kv", metavar="SPEC", help="Language model: how keys and values are kept.  [default: k16v16]"),
    click.option("--weights", metavar="SPEC", help="Language model: f32, f16, rtn4:g32, awq4:g128...  [default: f32]"),
    click.option(
        "--calibrate",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Language model: a text, or token ids in .npy, for awq weights and per-tensor caches.",
    ),
    click.option(
        "--context",
        type=click.IntRange(min=1),
        metavar="N",
        help="Language model: tokens that the cache holds.  [default: config.json's]",
    ),
    click.option(
        "--chunk",
        type=click.IntRange(min=1),
        metavar="N",
        help="Language model: most tokens read at a time.  [default: 256]",
    ),
    click.option(
        "--batch",
        type=click.IntRange(min=1),
        metavar="N",
        help="Language model: sequences that run together.  [default: 1]",
    ),
]


@dataclass(frozen=True)
class LanguageFlags:
    """The flags as they were given; None for those that were not."""

    kv: str | None = None
    weights: str | None = None
    calibrate: Path | None = None
    context: int | None = None
    chunk: int | None = None
    batch: int | None = None

    def given(self) -> tuple[str, ...]:
        """The flags and their values, to be given again."""
        values = {f"--{name}": value for name, value in vars(self).items() if value is not None}
        return tuple(text for flag, value in values.items() for text in (flag, str(value)))

    def source(self, path: Path) -> Path | LanguageModel:
        """What to plan: a folder read with these flags; an ONNX model as it is, or with caches where any is given.

        Raises :class:`UsageError` for another folder, or flags that the kind of model does not take.
        """
        from byoc.llm.model import is_model_folder

        if is_model_folder(path):
            return self._language_model(path)
        if path.is_dir():
            raise UsageError(
                f"the folder {path} holds no model",
                "the folder of a language model has a config.json",
                "name an ONNX file, or a folder with config.json and safetensors",
            )
        return self._onnx_model(path) if self.given() else path

    def _onnx_model(self, path: Path) -> LanguageModel:
        """An ONNX model whose past becomes caches, since flags for those are given."""
        from byoc.llm.from_onnx.model import layers_of
        from byoc.llm.model import language_model

        if self.calibrate is not None:
            raise UsageError(
                "--calibrate is for folders with config.json and safetensors",
                f"{path} is an ONNX model, whose weights and scales are as they are",
                "drop it",
            )
        return language_model(path, self._settings(layers_of(path) if self.kv and ";" in self.kv else 1))

    def _language_model(self, folder: Path) -> LanguageModel:
        from byoc.llm.calibrate import needs_calibration
        from byoc.llm.calibration_text import read_calibration
        from byoc.llm.config import read_config
        from byoc.llm.model import language_model

        config = read_config(folder)
        settings = self._settings(config.layers)
        needs = needs_calibration(config, settings)
        text = self.calibrate or self._own_text(folder, settings, needs)
        if needs and text is not None:
            settings = replace(settings, calibration=read_calibration(text, folder))
        return language_model(folder, settings)

    def _own_text(self, folder: Path, settings: Settings, needs: list[str]) -> Path | None:
        """byoc's own text, where weights alone need one and the model has a tokenizer to read it with."""
        from byoc.llm.calibration_text import OWN_TEXT
        from byoc.llm.model import TOKENIZER

        if needs != [str(settings.weights)] or not (folder / TOKENIZER).is_file():
            return None
        click.echo(
            f"{settings.weights} is calibrated on a text of byoc's own; "
            "--calibrate FILE takes one like those that the model will read",
            err=True,
        )
        return OWN_TEXT

    def _settings(self, layers: int) -> Settings:
        from byoc.llm.settings import Settings, parse_kv
        from byoc.llm.weights import WeightSpec

        usual = Settings()
        return Settings(
            kv=parse_kv(self.kv, layers) if self.kv else usual.kv,
            weights=WeightSpec.parse(self.weights) if self.weights else usual.weights,
            context=self.context or usual.context,
            chunk=self.chunk or usual.chunk,
            batch=self.batch or usual.batch,
        )
