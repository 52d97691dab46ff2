"""The text that calibration reads, as token ids."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from byoc.errors import CalibrationError
from byoc.llm.model import TOKENIZER
from byoc.llm.tokenizer import Tokenizer

OWN_TEXT = Path(__file__).with_name("calibration.txt")  # prose, code and tables, for awq where no other is given
_MOST_CHARACTERS = 200_000  # a tokenizer takes time by the character


def read_calibration(file: str | os.PathLike[str], folder: str | os.PathLike[str]) -> tuple[int, ...]:
    """Token ids for :class:`Settings`: of a text, by the tokenizer in the model's folder, or those in an ``.npy`` file.

    Of a long text the first 200,000 characters are taken.
    Raises :class:`CalibrationError`; :class:`ToolchainError` where tokenizers is not installed.
    """
    file, tokenizer = Path(file), Path(folder) / TOKENIZER
    if file.suffix == ".npy":
        ids = _read_ids(file)
    elif not tokenizer.is_file():
        raise CalibrationError(
            f"{file} cannot be turned into tokens", f"{folder} has no {TOKENIZER}", "give token ids in an .npy file"
        )
    else:
        ids = Tokenizer(tokenizer.read_bytes()).encode(_read_text(file)[:_MOST_CHARACTERS])
    if not ids:
        raise CalibrationError(f"{file} is empty", "", "give a text like those that the model will read")
    return tuple(ids)


def _read_text(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except OSError as error:
        raise CalibrationError(f"{file} cannot be read: {error.strerror}", "", "check the path") from None
    except UnicodeDecodeError:
        raise CalibrationError(
            f"{file} is no text", "it is not UTF-8", "give a text file, or token ids in an .npy file"
        ) from None


def _read_ids(file: Path) -> list[int]:
    try:
        ids = np.load(file, allow_pickle=False)
    except OSError as error:
        raise CalibrationError(f"{file} cannot be read: {error.strerror or error}", "", "check the path") from None
    except (ValueError, EOFError) as error:
        raise CalibrationError(f"{file} is no .npy file", str(error), "write it with numpy.save") from None
    if not isinstance(ids, np.ndarray) or ids.dtype.kind not in "iu":
        kind = f"{ids.dtype}{list(ids.shape)}" if isinstance(ids, np.ndarray) else "several arrays"
        raise CalibrationError(f"{file} holds {kind}, no token ids", "ids are integers", "save one array of integers")
    return [int(i) for i in ids.reshape(-1)]
