"""What goes over the wire, as protobuf messages that are described here and not generated.

Generated code ties a package to one major version of protobuf; a description does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from numpy.typing import NDArray

PACKAGE = "robopref.hil"
_FIELDS: Mapping[str, Mapping[str, str]] = {
    # An actor asks for a lease, or for its own again, and is told what is stored of its steps.
    "OpenRequest": {
        "actor": "string", "observation_dim": "uint32", "action_dim": "uint32", "lease": "string",
        "image_shape": "string",
    },
    "OpenReply": {"lease": "string", "stored": "uint64", "version": "uint64"},
    # Steps, as safetensors; none for a sign of life.
    "PushRequest": {"lease": "string", "steps": "bytes"},
    "PushReply": {"stored": "uint64", "version": "uint64", "paused": "bool"},
    "WeightsRequest": {"lease": "string"},
    # The policy's folder, as safetensors and JSON.
    "WeightsReply": {"version": "uint64", "weights": "bytes", "description": "string"},
    # What the robot is: JSON, with its limits.
    "DescribeRequest": {},
    "DescribeReply": {"description": "string"},
    # An episode begins; whoever asks drives until it ends, or is silent for too long.
    "ResetRequest": {"driver": "string", "seed": "uint64"},
    "ResetReply": {"lease": "string", "state": "bytes"},
    # One action, as safetensors, and what came of it.
    "StepRequest": {"lease": "string", "action": "bytes"},
    "StepReply": {"state": "bytes"},
    # Emergency stop; no lease is needed for it.
    "StopRequest": {"reason": "string"},
    "StopReply": {},
}  # fmt: skip
"""Message to its fields, numbered from 1 on in this order."""


def _messages() -> dict[str, Any]:
    types = descriptor_pb2.FieldDescriptorProto
    kinds = {
        "string": types.TYPE_STRING,
        "bytes": types.TYPE_BYTES,
        "bool": types.TYPE_BOOL,
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
Calls = Mapping[str, tuple[Any, Any]]
"""Call to the classes of request and reply."""


def _calls(*names: str) -> Calls:
    return {name: (MESSAGES[f"{name}Request"], MESSAGES[f"{name}Reply"]) for name in names}


LEARNER, ROBOT = f"{PACKAGE}.Learner", f"{PACKAGE}.Robot"
SERVICES: Mapping[str, Calls] = {
    LEARNER: _calls("Open", "Push", "Weights"),
    ROBOT: _calls("Describe", "Reset", "Step", "Stop"),
}


def encoded(**arrays: Any) -> bytes:
    """Named arrays as safetensors."""
    found: bytes = safetensors.numpy.save(
        {name: np.atleast_1d(np.asarray(values)) for name, values in arrays.items()}
    )
    return found


def decoded(message: bytes) -> dict[str, NDArray[Any]]:
    """What `encoded` wrote; nothing of what is damaged."""
    try:
        arrays: dict[str, NDArray[Any]] = safetensors.numpy.load(message)
    except (safetensors.SafetensorError, ValueError, KeyError):
        return {}
    return arrays
