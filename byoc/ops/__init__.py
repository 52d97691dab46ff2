"""High-level Relax ops in the ``byoc.`` namespace, registered from Python.

A codegen may claim such an op whole.  Where nobody does, the host compiles its legalisation, which is also the op's
reference semantics.
"""

from byoc.ops.register import STATES, RegisteredOp, byoc_op, call, find_op, in_place_argument, update_in_place

__all__ = ["STATES", "RegisteredOp", "byoc_op", "call", "find_op", "in_place_argument", "update_in_place"]
