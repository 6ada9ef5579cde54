"""What a bundle's manifest must hold: types, bounds, and the JSON schema of it.

`open_bundle` needs the names and the hashes of the files alone. Whoever uses a shape, a
scale or a recipe of a manifest reads it through here first: a manifest is a text file,
and anybody may have written it. The schema that others validate with is made from the
same classes (`mobileq inspect --schema`).
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mobileq.bundle import MANIFEST, VERSION, Bundle
from mobileq.errors import BundleError

LARGEST_SIDE = 65_536
MOST_PIXELS = 2**27
"""Of an image, over all channels."""

MOST_CLASSES = 2**20
SCHEMA = "https://json-schema.org/draft/2020-12/schema"

Side = Annotated[int, Field(ge=1, le=LARGEST_SIDE)]
Hash = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Scale = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Motion = tuple[Annotated[int, Field(ge=0, le=3)], bool]
EndName = Literal["uint8", "int8", "float32"]


class _Part(BaseModel):
    """A part of the manifest; what later versions add is kept and not looked at."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)


class FileEntry(_Part):
    """One file of the bundle: its SHA-256 and its size."""

    sha256: Hash
    bytes: Annotated[int, Field(ge=0)]


class Origin(_Part):
    """The checkpoint that was exported: what it was called, and its SHA-256."""

    source: str
    sha256: Hash | None = None


class InputPart(_Part):
    """The image. Real value = (pixel - pixel_zero) * pixel_scale."""

    shape: Annotated[list[Side], Field(min_length=3, max_length=3)]
    pixel_scale: Scale
    pixel_zero: Annotated[int, Field(ge=0, le=255)]


class Ends(_Part):
    """Types, layout and batch of one file."""

    input: EndName
    output: EndName
    layout: Literal["NCHW", "NHWC"]
    batch: Annotated[int, Field(ge=1)] | Literal["dynamic"]


class Normalization(_Part):
    """Real value = (pixel - mean) / std."""

    mean: Finite
    std: Scale


class ContractPart(_Part):
    """What the files take and return."""

    name: str
    description: str
    head: Literal["none", "softmax", "sigmoid"]
    output: Literal["logits", "scores"]
    labels: list[str]
    input_type: EndName | None = None
    batch: Annotated[int, Field(ge=1)] | Literal["dynamic"] = 1
    normalization: Normalization
    files: dict[str, Ends]


class Symmetry(_Part):
    """Motions of the image under which the output cannot change: (turns, mirrored)."""

    motions: list[Motion]
    why_not: str | None


class RungEntry(_Part):
    """One comparison of the verification ladder."""

    name: str
    against: str
    measure: str
    value: Finite
    limit: Finite
    passed: bool
    first_wrong: str | None = None


class CertificateEntry(_Part):
    """What is proven of one integer file."""

    sha256: Hash
    group: str
    motions: list[Motion]


class OutputScale(_Part):
    """What the integer logits stand for: (integer - zero_point) * scale."""

    scale: Scale
    zero_point: Annotated[int, Field(ge=-128, le=127)]


class QuantizationPart(_Part):
    """What was done to make integers of the network."""

    output: OutputScale
    passes: list[str]
    notes: list[str]


class Calibration(_Part):
    """Images of the user's that the integers depend on."""

    count: Annotated[int, Field(ge=1)]
    sha256: Hash


class Manifest(_Part):
    """Content of a bundle's manifest.json."""

    format: Literal["mobileq-bundle"]
    version: Annotated[int, Field(ge=1, le=VERSION)]
    mobileq: str
    checkpoint: Origin | None = None
    group: str
    input: InputPart
    contract: ContractPart
    classes: Annotated[int, Field(ge=1, le=MOST_CLASSES)]
    multiply_adds: Annotated[int, Field(ge=0)]
    exact_symmetry: Symmetry
    ladder: list[RungEntry]
    certificates: dict[str, CertificateEntry]
    environment: dict[str, str]
    files: dict[str, FileEntry]
    recipe: dict[str, Any] | None = None
    quantization: QuantizationPart | None = None
    calibration: Calibration | None = None


def read_manifest(bundle: Bundle) -> Manifest:
    """A bundle's manifest, checked.

    Raises:
        BundleError: naming the first entry that is missing, of another type or out of
            bounds.
    """
    where = bundle.path / MANIFEST
    try:
        # Through JSON: there, a list is what a tuple is in Python.
        manifest = Manifest.model_validate_json(json.dumps(bundle.manifest))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        given = "" if first["type"] == "missing" else _short(first["input"])
        given = f", found {given}" if given else ""
        raise BundleError(
            f"{where}: {place}: {first['msg'].lower()}{given}; wanted a manifest as "
            f"'mobileq inspect --schema' describes it (export again)"
        ) from None
    sides = manifest.input.shape
    if sides[0] * sides[1] * sides[2] > MOST_PIXELS:
        raise BundleError(
            f"{where}: input.shape: found {sides}; wanted at most {MOST_PIXELS:,} "
            f"values in all (export again)"
        )
    return manifest


def schema() -> dict[str, Any]:
    """The JSON schema of a manifest."""
    return {"$schema": SCHEMA, **Manifest.model_json_schema()}


def _short(value: Any) -> str:
    """A value in a message."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
