"""Turn a trained checkpoint into one that ships with the package, and write its card.

usage: python tools/ship_checkpoint.py MODEL.pt NAME --data DIR

Filters are stored in 16 bits, everything else as it is; the scores on the card are
those of the stored weights on the test split in DIR, measured here.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from mobileq.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from mobileq.data.pcam import open_pcam
from mobileq.data.scores import Scores, score
from mobileq.models.build import build_model
from mobileq.models.spec import ModelSpec
from mobileq.train.evaluate import predict

FOLDER = Path(__file__).resolve().parent.parent / "mobileq" / "checkpoints"

CARD = """# {name}

{family} MobileNetV2, width {width:g}, for PatchCamelyon: does the central 32x32 px of a
95x95 px patch hold tumour tissue? {weights:,} weights, {kilobytes:,} kB.

Trained with

```
{command}
```

on {images:,} patches of PatchCamelyon (CC0; Veeling et al. 2018, Ehteshami Bejnordi et
al. 2017) that had been re-encoded as JPEG (quality about 75), {epochs} epochs, and
chosen by validation loss on 2,000 patches of the same slides (epoch {best}).

| split | accuracy | AUC | cross-entropy |
|---|---|---|---|
| validation, same slides | {valid_accuracy:.4f} | {valid_auc:.4f} | {valid_loss:.4f} |
| test, other slides, {test_count:,} patches | {accuracy:.4f} | {auc:.4f} | {loss:.4f} |

Because of the JPEG encoding and the smaller training set, these figures are
not comparable with published PCam figures. The network is for trying out this software,
not for diagnosis.
"""


def commands_of(spec: ModelSpec, training: Mapping[str, Any], out: str) -> str:
    """The commands that train such a checkpoint, one after the other."""
    if "initial" not in training:
        return command_of(spec, training["config"], out)
    before = f"before-{out}"
    first = commands_of(spec, training["initial"]["training"], before)
    last = command_of(spec, training["config"], out)
    return f"{first}\n{last} \\\n    --init {before}"


def command_of(spec: ModelSpec, config: Mapping[str, Any], out: str) -> str:
    """The command of one run, defaults included."""
    options = {
        "group": spec.group,
        "width": f"{spec.width:g}",
        "channel-multiple": spec.channel_multiple,
        "reduced-strides": spec.reduced_strides,
        "epochs": config["epochs"],
        "batch-size": config["batch_size"],
        "learning-rate": f"{config['learning_rate']:g}",
        "weight-decay": f"{config['weight_decay']:g}",
        "label-smoothing": f"{config['label_smoothing']:g}",
        "stain-jitter": f"{config['stain_jitter']:g}",
        "average": f"{config['average']:g}",
        "seed": config["seed"],
    }
    lines = [f"--{key} {value}" for key, value in options.items()]
    rows = ["  ".join(lines[i : i + 4]) for i in range(0, len(lines), 4)]
    return " \\\n    ".join([f"mobileq train --data DIR --out {out}", *rows])


def epochs_of(training: Mapping[str, Any]) -> str:
    """Epochs of each run, such as `16 + 14`."""
    own = str(training["config"]["epochs"])
    if "initial" not in training:
        return own
    return f"{epochs_of(training['initial']['training'])} + {own}"


def compact(checkpoint: Checkpoint) -> Checkpoint:
    """Filters in 16 bits; vectors, bases and statistics stay in 32."""
    wanted = build_model(checkpoint.spec).state_dict()
    weights = {
        name: checkpoint.weights[name].half()
        if tensor.ndim > 1 and name.endswith("weight")
        else checkpoint.weights[name]
        for name, tensor in wanted.items()
    }
    return replace(checkpoint, weights=weights)


def card(
    name: str, checkpoint: Checkpoint, test: Scores, size: int, images: int
) -> str:
    """The model card."""
    training = checkpoint.training
    valid = training["validation"]
    learned = sum(p.numel() for p in build_model(checkpoint.spec).parameters())
    return CARD.format(
        name=name,
        family=checkpoint.spec.group if checkpoint.spec.equivariant else "Conventional",
        width=checkpoint.spec.width,
        weights=learned,
        kilobytes=size // 1000,
        command=commands_of(checkpoint.spec, training, "model.pt"),
        images=images,
        epochs=epochs_of(training),
        best=training["epoch"],
        valid_accuracy=valid["accuracy"],
        valid_auc=valid["auc"],
        valid_loss=valid["loss"],
        accuracy=test.accuracy,
        auc=test.auc,
        loss=test.loss,
        test_count=test.count,
    )


def main() -> None:
    """Convert, score, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("name")
    parser.add_argument("--data", type=Path, required=True)
    options = parser.parse_args()
    small = compact(load_checkpoint(options.model))
    patches = open_pcam(options.data, "test")
    with torch.no_grad():
        model = small.build()
    logits = predict(model, patches, input_size=small.spec.input_size)
    test = score(logits, patches.labels)
    before = dict(small.training.get("test", {}))
    training = {**small.training, "test": test.to_dict()}
    path = FOLDER / f"{options.name}.safetensors"
    save_checkpoint(path, replace(small, training=training))
    images = len(open_pcam(options.data, "train"))
    size = path.stat().st_size
    text = card(options.name, small, test, size, images)
    path.with_suffix(".md").write_text(text, encoding="utf-8")
    print(f"{path}: {size:,} bytes, test {test} (in 32 bits: {before})")


if __name__ == "__main__":
    main()
