"""Strings of a model file that are no text: protobuf hands such a field over as bytes."""

from __future__ import annotations

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

_STRING, _MESSAGE = FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_MESSAGE


def first_undecodable(message: Message) -> str | None:
    """Where the first string stands that is not UTF-8, as ``graph.node[3].op_type``; None when all are."""
    for field, value in message.ListFields():
        if field.type not in (_STRING, _MESSAGE):
            continue
        repeated = not isinstance(value, str | bytes | Message)
        for index, entry in enumerate(value if repeated else (value,)):
            place = f"{field.name}[{index}]" if repeated else field.name
            if field.type == _STRING:
                if isinstance(entry, bytes):
                    return place
            elif (inner := first_undecodable(entry)) is not None:
                return f"{place}.{inner}"
    return None
