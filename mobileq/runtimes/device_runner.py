"""A file on a phone or board, behind the usual `Runner` interface.

What the file takes and returns is read here, by the code that reads it on this
machine; the device is given raw inputs and gives raw outputs. Both can so be compared
to the bit.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mobileq.errors import BundleError
from mobileq.verify.runner import PixelMap
from mobileq_android.errors import ToolError
from mobileq_android.plan import Inputs
from mobileq_android.session import Session
from mobileq_android.tools import Setting

if TYPE_CHECKING:
    from mobileq_tflite.runner import TfliteRunner


AT_ONCE = 256
"""Images that are pushed in one file; 28 MB of our networks' float inputs."""


class DeviceRunner:
    """Outputs of a TFLite file on a device.

    It answers as a `mobileq.verify.runner.Runner` does, except that it has no tensors
    and no times: the device's own tools have these.

    Args:
        session: The device.
        path: Of the file, there.
        data: The file's content.
        setting: How it is run there.
        pixels: How the pixels of a file are normalized that takes real numbers.

    Raises:
        BundleError: the content is no TFLite file, or is damaged.
    """

    def __init__(
        self,
        session: Session,
        path: str,
        data: bytes,
        setting: Setting,
        pixels: PixelMap,
    ) -> None:
        from mobileq_tflite.runner import TfliteRunner

        self._session, self._path, self._setting = session, path, setting
        self._here = TfliteRunner(data, kernels="xnnpack", pixels=pixels)

    @property
    def name(self) -> str:
        """Such as `tflite int8 on emulator-5554, xnnpack, 1 thread`."""
        kind = "int8" if self.integer else "float"
        return f"tflite {kind} on {self._session.device.name}, {self._setting}"

    @property
    def integer(self) -> bool:
        """Whether the file computes in int8."""
        return self._here.integer

    @property
    def here(self) -> TfliteRunner:
        """The same file on this machine's XNNPACK."""
        return self._here

    def tensors(self, pixels: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """Tensors stay on the device.

        Raises:
            BundleError: always.
        """
        raise BundleError(
            f"{self.name}: tensors stay on the device; wanted a file on this machine"
        )

    def timed(self, pixels: NDArray[np.uint8]) -> Any:
        """The device's own tools take times.

        Raises:
            BundleError: always.
        """
        raise BundleError(f"{self.name}: is timed on the device; wanted its own tool")

    def outputs(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        """Outputs of (B, H, W, C) pixels, as `TfliteRunner.outputs` gives them.

        Raises:
            BundleError: the images are of another size.
            ToolError: the device returned something else than outputs.
        """
        starts = range(0, len(pixels), AT_ONCE)
        parts = [self._some(pixels[start : start + AT_ONCE]) for start in starts]
        return self._here.read(np.concatenate(parts))

    def _some(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        """What the file returns for a few images, in its own type.

        Raises:
            BundleError: they are of another size.
            ToolError: the device returned something else than outputs.
        """
        images = self._here.prepared(pixels)
        tensor, shape = self._here.source
        inputs = Inputs(
            b"".join(image.tobytes() for image in images), tensor, shape, len(images)
        )
        raw = self._session.outputs(self._path, self._setting, inputs)
        one, kind = self._here.made
        wanted = len(images) * prod(one) * kind.itemsize
        if len(raw) != wanted:
            raise ToolError(
                f"{self.name}: returned {len(raw)} bytes for {len(images)} images; "
                f"wanted {wanted}"
            )
        return np.frombuffer(raw, kind).reshape(len(images) * one[0], *one[1:]).copy()
