"""What stands in report.html besides the figures: example patches, proofs, layers."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mobileq.bench.html import Example, Layer, Page
    from mobileq.bench.result import Result
    from mobileq.bench.subject import Candidate
    from mobileq.bundle import Bundle
    from mobileq.data.patches import Patches

EXAMPLES = 3
TURNS = tuple(range(0, 360, 45))
"""Degrees through which an example is turned."""

EXPLANATION = "explain.json"


def page_of(
    result: Result, bundle: Bundle | None = None, examples: Sequence[Example] = ()
) -> Page:
    """A report of a result.

    Args:
        result: What was measured.
        bundle: Whose proofs and layers are shown; None where there is none.
        examples: Turned patches.

    Raises:
        BundleError: the bundle's explanation is damaged.
    """
    from mobileq.bench.html import Page

    manifest: dict[str, Any] = {} if bundle is None else dict(bundle.manifest)
    noise = None if result.noise is None else result.noise.sentence
    return Page(
        title=result.target,
        group=result.group,
        machine=asdict(result.machine),
        noise=noise or None,
        images=result.images,
        image_count=result.image_count,
        data=result.data,
        rows=result.rows,
        notes=(*_row_notes(result), *result.notes),
        examples=tuple(examples),
        ladder=manifest.get("ladder"),
        certificates=manifest.get("certificates"),
        layers=() if bundle is None else layers_in(bundle),
        symmetry=result.layers,
        commands=(result.command,),
        classes=result.classes,
        devices={device.name: device.facts() for device in result.devices},
    )


def _row_notes(result: Result) -> Iterator[str]:
    """What there is to know about single rows."""
    from mobileq.bench.naming import row_names

    for name, row in zip(row_names(result.rows), result.rows, strict=True):
        yield from (f"{name}: {note}" for note in row.notes)


def layers_in(bundle: Bundle) -> tuple[Layer, ...]:
    """What quantization did to each layer, if the bundle says so.

    Raises:
        BundleError: it says so in a damaged file.
    """
    from mobileq.bench.html import layers_of

    if EXPLANATION not in bundle.manifest["files"]:
        return ()
    return layers_of(json.loads(bundle.read(EXPLANATION)))


def turned_examples(
    candidate: Candidate,
    images: NDArray[np.uint8],
    patches: Patches | None,
    classes: Sequence[str],
) -> tuple[Example, ...]:
    """A few patches, turned through the circle, with what a file makes of them.

    Args:
        candidate: The file; its network puts images into classes.
        images: (N, S, S, C) pixels, spread over `patches` if there are some.
        patches: Where the images come from, for their true classes.
        classes: Names of the classes; numbers stand for those that are missing.

    Returns:
        None of a network that gives a map.

    Raises:
        RuntimeProcessError: its process died.
    """
    import numpy as np

    from mobileq.bench.accuracy import real_logits
    from mobileq.bench.html import Example, Turn
    from mobileq.bench.process import ProcessRunner
    from mobileq.bench.turning import turned
    from mobileq.cli.bench_inputs import spread

    assert candidate.spec is not None
    rows = np.linspace(0, len(images) - 1, min(EXAMPLES, len(images))).astype(int)
    chosen = images[rows]
    name = class_names(classes)
    found: list[list[Turn]] = [[] for _ in chosen]
    with ProcessRunner(candidate.spec) as runner:
        for degrees in TURNS:
            pixels = turned(chosen, degrees)
            logits = real_logits(runner, pixels, candidate.dequantize)
            if logits.ndim != 2:
                return ()
            shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
            shares = shifted / shifted.sum(axis=1, keepdims=True)
            for turns, image, share in zip(found, pixels, shares, strict=True):
                best = int(share.argmax())
                turns.append(Turn(degrees, png(image), name(best), float(share[best])))
    titles = [f"synthetic tissue {row}" for row in rows]
    if patches is not None:
        chosen_rows = spread(len(patches), len(images))[rows]
        titles = [f"image {i}: {name(int(patches.labels[i]))}" for i in chosen_rows]
    return tuple(
        Example(title, tuple(turns)) for title, turns in zip(titles, found, strict=True)
    )


def class_names(classes: Sequence[str]) -> Callable[[int], str]:
    """What calls a class by its name, or else by its number."""

    def name(index: int) -> str:
        return classes[index] if index < len(classes) else f"class {index}"

    return name


def png(image: NDArray[np.uint8]) -> bytes:
    """A picture of (H, W, C) pixels; of other channels than 1 or 3, the first."""
    from PIL import Image

    channels = image.shape[2]
    picture = Image.fromarray(image if channels == 3 else image[..., 0])
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()
