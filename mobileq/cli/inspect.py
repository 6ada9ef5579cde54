"""`mobileq inspect`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer


def inspect(
    target: Annotated[
        str | None,
        typer.Argument(
            help="Checkpoint, shipped name, bundle, or a bare .tflite or .onnx file."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    schema: Annotated[
        bool,
        typer.Option("--schema", help="Print the JSON schema of a bundle's manifest."),
    ] = False,
) -> None:
    """Show what a checkpoint, a bundle or an exported file is; nothing is run.

    Exit code 2 if a file of a bundle is not the one that was exported.
    """
    import json

    from mobileq.bench.tables import plain
    from mobileq.errors import InputError
    from mobileq.inspection import inspect as look
    from mobileq.inspection import require_intact

    if schema:
        from mobileq.manifest import schema as schema_of_manifest

        typer.echo(json.dumps(schema_of_manifest(), indent=1))
        return
    if target is None:
        raise InputError("nothing to inspect; wanted a file, a bundle or --schema")
    found = look(target)
    if as_json:
        typer.echo(json.dumps(plain(found), indent=1, allow_nan=False))
    else:
        _print(found)
    require_intact(found)


def _print(found: Mapping[str, Any]) -> None:
    """Print lines of a name and a value."""
    from mobileq.cli.output import console

    lines = {"checkpoint": _checkpoint, "bundle": _bundle, "file": _file}
    screen = console()
    for name, value in lines[found["kind"]](found):
        screen.print(f"{name:<14}{value}", soft_wrap=True, markup=False)


Lines = Iterator[tuple[str, str]]

LONGEST = 120
"""Characters of metadata that are shown; --json has all."""


def _checkpoint(found: Mapping[str, Any]) -> Lines:
    """A checkpoint: architecture, weights, scores."""
    spec, training = found["spec"], found["training"]
    yield "checkpoint", found["path"]
    yield "sha256", found["sha256"]
    yield "size", f"{found['bytes']:,} bytes, {_counts(found['numbers'])}"
    yield (
        "network",
        f"{spec['group']} MobileNetV2, width {spec['width']:g}, channels in multiples "
        f"of {spec['channel_multiple']}, {spec['reduced_strides']} strides reduced",
    )
    size = spec["input_size"]
    yield "input", f"{spec['in_channels']} x {size} x {size}"
    yield "output", f"{spec['num_classes']} logits"
    if "epoch" in training:
        yield "trained", f"best epoch {training['epoch']}"
    for split in ("validation", "test"):
        if split in training:
            yield split, _scores(training[split])


def _scores(scores: Mapping[str, Any]) -> str:
    """Accuracy, AUC and loss of one split."""
    parts = [
        f"{name} {scores[name]:.4f}"
        for name in ("accuracy", "auc", "loss")
        if isinstance(scores.get(name), float)
    ]
    return ", ".join([*parts, f"{scores.get('count', 0):,} images"])


def _bundle(found: Mapping[str, Any]) -> Lines:
    """A bundle: where it comes from, what was verified, its files."""
    manifest = found["manifest"]
    yield "bundle", found["path"]
    yield "made by", f"mobileq {manifest.get('mobileq', '?')}"
    origin = manifest.get("checkpoint")
    if isinstance(origin, dict):
        yield "from", f"{origin.get('source')} (sha256 {origin.get('sha256')})"
    yield "group", str(manifest.get("group", "?"))
    ladder = manifest.get("ladder")
    if isinstance(ladder, list):
        passed = sum(bool(rung.get("passed")) for rung in ladder)
        yield "ladder", f"{passed} of {len(ladder)} rungs passed"
    if isinstance(manifest.get("recipe"), dict):
        yield "recipe", str(manifest["recipe"].get("name"))
    certificates = manifest.get("certificates", {})
    for name, entry in found["files"].items():
        yield "", ""
        if not entry["intact"]:
            yield name, f"NOT INTACT: {entry['problem']}"
            continue
        yield from _content(name, entry)
        if name in certificates:
            yield "certificate", f"{certificates[name].get('group')} is proven"
    for name in found["not in the manifest"]:
        yield "", ""
        yield name, "is not in the manifest"


def _file(found: Mapping[str, Any]) -> Lines:
    """A bare file."""
    yield from _content(found["path"], found)


def _content(name: str, entry: Mapping[str, Any]) -> Lines:
    """An intact file."""
    yield "file", f"{name}, {entry['bytes']:,} bytes"
    yield "sha256", entry["sha256"]
    if "operators" not in entry:
        return
    yield "format", f"{entry['format']}, {entry['version']}"
    for side in ("inputs", "outputs"):
        for end in entry[side]:
            yield side.removesuffix("s"), _end(end)
    kinds = entry["operators"]
    listed = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    yield "operators", f"{sum(kinds.values())}: {listed}"
    yield "constants", _counts(entry["constants"])
    for key, text in entry["metadata"].items():
        long = f"{len(text):,} characters" if len(text) > LONGEST else text
        yield "metadata", f"{key}: {long}"


def _end(end: Mapping[str, Any]) -> str:
    """Name, type, shape, and quantization if there is any."""
    shape = " x ".join(map(str, end["shape"]))
    text = f"{end['name']}: {end['dtype']} {shape}"
    if end["scale"] is None:
        return text
    return f"{text}, scale {end['scale']:.6g}, zero point {end['zero_point']}"


def _counts(numbers: Mapping[str, int]) -> str:
    """Such as `143,574 float16, 9,000 float32`."""
    return ", ".join(f"{count:,} {dtype}" for dtype, count in numbers.items()) or "none"
