"""Bring an imported module into the canonical form that patterns are written against."""

from byoc.rewrite.canonical import canonicalise

__all__ = ["canonicalise"]
