"""ONNX models with keys and values of the past as inputs, turned into entry functions that keep them in caches.

The model is imported as any other.  Each attention over a past is then found by its shape (`attention`), shown to be
causal attention by running it beside a reference (`probe`, `prove`), and replaced by ``byoc.kv_append`` and
``byoc.kv_attention`` in functions like those of a Hugging Face folder (`rebuild`).
"""
