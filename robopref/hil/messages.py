"""What goes over the wire, as protobuf messages that are described here and not generated.

Generated code ties a package to one major version of protobuf; a description does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "robopref.hil"
SERVICE = f"{PACKAGE}.Learner"
_FIELDS: Mapping[str, Mapping[str, str]] = {
    # An actor asks for a lease, or for its own again, and is told what is stored of its steps.
    "OpenRequest": {
        "actor": "string",
        "observation_dim": "uint32",
        "action_dim": "uint32",
        "lease": "string",
    },  # fmt: skip
    "OpenReply": {"lease": "string", "stored": "uint64", "version": "uint64"},
    # Steps, as safetensors; none for a sign of life.
    "PushRequest": {"lease": "string", "steps": "bytes"},
    "PushReply": {"stored": "uint64", "version": "uint64"},
    "WeightsRequest": {"lease": "string"},
    # The policy's folder, as safetensors and JSON.
    "WeightsReply": {"version": "uint64", "weights": "bytes", "description": "string"},
}
"""Message to its fields, numbered from 1 on in this order."""


def _messages() -> dict[str, Any]:
    types = descriptor_pb2.FieldDescriptorProto
    kinds = {
        "string": types.TYPE_STRING,
        "bytes": types.TYPE_BYTES,
        "uint32": types.TYPE_UINT32,
        "uint64": types.TYPE_UINT64,
    }
    file = descriptor_pb2.FileDescriptorProto(
        name="robopref/hil.proto", package=PACKAGE, syntax="proto3"
    )
    for name, columns in _FIELDS.items():
        message = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(columns.items(), start=1):
            message.field.add(
                name=field, number=number, type=kinds[kind], label=types.LABEL_OPTIONAL
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))
        for name in _FIELDS
    }


MESSAGES = _messages()
"""Name to class."""
CALLS = {
    "Open": (MESSAGES["OpenRequest"], MESSAGES["OpenReply"]),
    "Push": (MESSAGES["PushRequest"], MESSAGES["PushReply"]),
    "Weights": (MESSAGES["WeightsRequest"], MESSAGES["WeightsReply"]),
}
"""Call to the classes of request and reply."""
