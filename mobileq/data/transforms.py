"""From uint8 NHWC patches to float32 NCHW batches: crop, augment, normalise.

Every function is pure; what is random comes from the generator that is passed in.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mobileq.data.patches import Patches, check_images, read_in_parts
from mobileq.errors import DataError

# Ruifrok and Johnston, "Quantification of histochemical staining by color
# deconvolution", Anal. Quant. Cytol. Histol. 23 (2001): optical density in R, G and B
# of haematoxylin, eosin and DAB, one stain a row.
STAINS: NDArray[np.float64] = np.array(
    [[0.650, 0.704, 0.286], [0.072, 0.990, 0.105], [0.268, 0.570, 0.776]]
)
STAINS.setflags(write=False)


def center_crop(
    images: NDArray[np.uint8], size: int | tuple[int, int]
) -> NDArray[np.uint8]:
    """Cut the middle out of each image.

    The corner lies at ((H - h) // 2, (W - w) // 2), so 96 to 95 keeps rows and columns
    0 to 94.

    Args:
        images: shape (N, H, W, C), NHWC, uint8.
        size: height h and width w of the crop, in pixels; one number for a square.

    Returns:
        A view of shape (N, h, w, C), NHWC, uint8.

    Raises:
        DataError: the images are smaller than the crop, or an edge is below 1.
    """
    check_images(images, "center_crop")
    height, width = images.shape[1:3]
    rows, columns = (size, size) if isinstance(size, int) else size
    if not (1 <= rows <= height and 1 <= columns <= width):
        wanted = f"{size} px" if isinstance(size, int) else f"{rows}x{columns} px"
        raise DataError(
            f"center_crop: crop of {wanted} from images of {height}x{width} px, "
            f"wanted 1 to {min(height, width)}: choose a smaller crop"
        )
    top, left = (height - rows) // 2, (width - columns) // 2
    return images[:, top : top + rows, left : left + columns]


def read_cropped(
    patches: Patches, rows: NDArray[np.int64], size: int | tuple[int, int]
) -> NDArray[np.uint8]:
    """Read patches and cut out their middles; of large ones, a few at a time.

    Args:
        patches: where to read.
        rows: (B,) which.
        size: height h and width w of the crop, in pixels; one number for a square.

    Returns:
        Shape (B, h, w, C), NHWC, uint8.

    Raises:
        DataError: they are smaller than the crop, or cannot be read.
    """
    # A copy of each crop lets go of what was cut off.
    parts = read_in_parts(patches, rows)
    return np.concatenate([center_crop(part, size).copy() for part in parts])


def square_symmetries(
    images: NDArray[np.uint8], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Move each image by its own random symmetry of the square.

    The eight elements (four rotations, each with and without a reflection) are equally
    likely. Pixels only change places.

    Args:
        images: shape (N, S, S, C), NHWC, uint8.
        rng: source of the N elements.

    Returns:
        A new array of the same shape.

    Raises:
        DataError: the images are not square.
    """
    check_images(images, "square_symmetries")
    if images.shape[1] != images.shape[2]:
        raise DataError(
            f"square_symmetries: images are {images.shape[1]}x{images.shape[2]} px, "
            "wanted squares: crop them with center_crop first"
        )
    elements = rng.integers(8, size=len(images))
    moved = np.empty_like(images, order="C")
    for element in range(8):
        chosen = np.flatnonzero(elements == element)
        picked = images[chosen]
        flipped = picked[:, :, ::-1] if element >= 4 else picked
        moved[chosen] = np.rot90(flipped, k=element % 4, axes=(1, 2))
    return moved


def stain_jitter(
    images: NDArray[np.uint8], rng: np.random.Generator, *, strength: float = 0.05
) -> NDArray[np.uint8]:
    """Vary how strongly each image is stained.

    Tellez et al., "Whole-slide mitosis detection in H&E breast histology using PHH3 as
    a reference" (2018, arXiv:1808.05896): with optical density d = -ln((I + 1) / 256)
    and stain amounts s = d M^-1, each image gets s' = a s + b, where
    a ~ U(1 - strength, 1 + strength) and b ~ U(-strength, strength) are drawn per image
    and stain. Since d' = d (M^-1 diag(a) M) + b M, that is one 3x3 matrix and one
    offset per image.

    Args:
        images: shape (N, H, W, 3), NHWC, uint8.
        rng: source of a and b.
        strength: half width of both intervals; 0 changes nothing. The paper's light
            variant is 0.05, its strong one 0.2.

    Returns:
        A new array of the same shape.

    Raises:
        DataError: `strength` is outside [0, 1], or the images are not RGB.
    """
    check_images(images, "stain_jitter", channels=3)
    if not 0.0 <= strength <= 1.0:
        raise DataError(
            f"stain_jitter: strength is {strength}, wanted 0 to 1: 0.05 is a light "
            "and 0.2 a strong variation"
        )
    count, pixels = len(images), images.shape[1] * images.shape[2]
    scale = rng.uniform(1 - strength, 1 + strength, size=(count, 1, 3))
    shift = rng.uniform(-strength, strength, size=(count, 1, 3))
    mix = ((np.linalg.inv(STAINS) * scale) @ STAINS).astype(np.float32)
    # 256 exp(-d') - 1, rounded by truncation of that plus a half, is
    # exp(ln 256 - d') - 0.5; the logarithm goes into the offset.
    offset = (np.log(256.0) - shift @ STAINS).astype(np.float32)
    table = np.log((np.arange(256) + 1.0) / 256).astype(np.float32)
    jittered = np.empty(images.shape, np.uint8)
    # One image at a time keeps the float32 buffers inside the processor's cache.
    density = np.empty((pixels, 3), np.float32)
    mixed = np.empty((pixels, 3), np.float32)
    for index in range(count):
        np.take(table, images[index].reshape(pixels, 3), out=density, mode="clip")
        np.matmul(density, mix[index], out=mixed)
        mixed += offset[index]
        np.exp(mixed, out=mixed)
        mixed -= 0.5
        np.clip(mixed, 0.0, 255.0, out=mixed)
        jittered[index] = mixed.reshape(images.shape[1:])
    return jittered


def normalize(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Map pixels 0..255 to (pixel - 128) / 128 and put channels first.

    The step is a power of two and the zero an integer, so an INT8 input of scale 1/128
    and zero point 0 holds every pixel exactly.

    Args:
        images: shape (N, H, W, C), NHWC, uint8.

    Returns:
        Shape (N, C, H, W), NCHW, float32 in [-1, 1), C-contiguous.
    """
    check_images(images, "normalize")
    count, height, width, channels = images.shape
    scaled = np.empty((count, channels, height, width), np.float32)
    np.subtract(images.transpose(0, 3, 1, 2), np.float32(128), out=scaled)
    scaled *= np.float32(1 / 128)
    return scaled
