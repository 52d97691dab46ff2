"""Operators that are refused for what they are, each with its reason."""

from __future__ import annotations

from byoc.importer.table import refuse_operator

_REASONS: dict[str, dict[str, str]] = {
    "it works on strings, or on maps; the importer takes tensors of numbers": {
        "": "RegexFullMatch StringConcat StringNormalizer StringSplit",
        "ai.onnx.ml": "CastMap CategoryMapper DictVectorizer ZipMap",
    },
    "it draws random numbers; the importer takes models whose inputs decide their outputs": {
        "": "Bernoulli Multinomial RandomNormal RandomNormalLike RandomUniform RandomUniformLike",
    },
    "it decodes image files; the importer takes their pixels": {"": "ImageDecoder"},
    "it is for training; the importer takes models for inference": {
        "ai.onnx.preview.training": "Adagrad Adam Gradient Momentum",
    },
}

for _why, _operators in _REASONS.items():
    for _domain, _names in _operators.items():
        for _name in _names.split():
            refuse_operator(_name, _why, domain=_domain)
