"""Parts of an update that need not wait for each other, side by side on a GPU."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch


class Lane:
    """A stream of a GPU beside the one in use, while an update is recorded there.

    Everywhere else what runs beside runs in its place: on a CPU, and on a GPU that is asked for
    one step after another, where the asking takes the time.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._in_use = False

    def __deepcopy__(self, memo: dict[int, Any]) -> Lane:
        return Lane(self._device)  # a stream belongs to nobody and cannot be copied

    def beside(self) -> AbstractContextManager[None]:
        """What comes inside starts when everything before it is done, and runs beside the rest."""
        if self._stream is None or not torch.cuda.is_current_stream_capturing():
            return nullcontext()
        self._stream.wait_stream(torch.cuda.current_stream())
        self._in_use = True
        return torch.cuda.stream(self._stream)

    def join(self) -> None:
        """What comes next starts when the lane is done."""
        if self._stream is not None and self._in_use:
            torch.cuda.current_stream().wait_stream(self._stream)
            self._in_use = False
