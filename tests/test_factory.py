"""Networks of one's own: a function that builds, weights, and everything between."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from mobileq.checkpoint import Checkpoint, save_checkpoint
from mobileq.errors import CheckpointError, InputError, MobileqError
from mobileq.factory import build_network, call_factory, read_module, read_weights
from mobileq.models.build import build_model
from mobileq.models.spec import ModelSpec

CODE = """
import torch
from escnn import gspaces, nn as enn

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        space = gspaces.rot2dOnR2(4)
        self.image = enn.FieldType(space, [space.trivial_repr] * 3)
        hidden = enn.FieldType(space, [space.regular_repr] * 2)
        self.conv = enn.R2Conv(self.image, hidden, 3, padding=1)
        self.norm = enn.InnerBatchNorm(hidden)
        self.relu = enn.ReLU(hidden)
        self.pool = enn.GroupPooling(hidden)
        self.head = torch.nn.Linear(2, 3)

    def forward(self, images):
        x = self.relu(self.norm(self.conv(enn.GeometricTensor(images, self.image))))
        return self.head(self.pool(x).tensor.mean((2, 3)))

def build():
    return Net()

def plain():
    return torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU())

def wants(width):
    return Net()

def fails():
    return 1 / 0

def other():
    return [Net]

network = torch.nn.Linear(2, 2)
number = 3
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory with a package of networks, where the user stands."""
    package = tmp_path / "own_networks"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "small.py").write_text(CODE)
    (package / "syntax.py").write_text("def build(:\n")
    (package / "imports.py").write_text("import nowhere_to_be_found\n")
    (package / "exits.py").write_text("raise RuntimeError('first\\nsecond')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in [n for n in sys.modules if n.split(".")[0] == "own_networks"]:
        del sys.modules[name]


def _trained() -> nn.Module:
    """A network whose BatchNorm has seen something."""
    torch.manual_seed(0)
    network = call_factory("own_networks.small:build").train()
    with torch.no_grad():
        network(torch.randn(8, 3, 9, 9))
    return network


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("kind", ["plain", "wrapped", "safetensors"])
def test_weights_of_any_kind(here: Path, mode: str, kind: str) -> None:
    """Saved while training or after; alone, in a script's file, or as safetensors."""
    network = _trained()
    weights = (network.train() if mode == "train" else network.eval()).state_dict()
    path = here / "weights"
    if kind == "safetensors":
        save_file({k: v.contiguous() for k, v in weights.items()}, path)
    else:
        whole = {"epoch": 3, "state_dict": weights, "best": 0.5}
        torch.save(whole if kind == "wrapped" else weights, path)
    found = build_network(path, "own_networks.small:build")
    assert not found.training
    images = torch.randn(2, 3, 9, 9)
    with torch.no_grad():
        assert torch.equal(found(images), network.eval()(images))


REFERENCES = {
    "no colon": ("own_networks", r"--factory is 'own_networks'; wanted package"),
    "no function": ("own_networks.small:", r"wanted package\.module:function"),
    "no name": ("own_networks.small:a b", r"wanted package\.module:function"),
    "relative": (".small:build", r"wanted package\.module:function"),
    "no package": (
        "no_such_package.small:build",
        "no module 'no_such_package'; wanted",
    ),
    "no module": ("own_networks.large:build", "no module 'own_networks.large'; wanted"),
    "import": ("own_networks.imports:build", "imports 'nowhere_to_be_found', which is"),
    "syntax": ("own_networks.syntax:build", "raised SyntaxError: "),
    "raises": ("own_networks.exits:build", "raised RuntimeError: first; wanted"),
    "attribute": ("own_networks.small:make", r"has no 'make'; wanted .*small\.py"),
    "number": ("own_networks.small:number", "is a int; wanted a function"),
    "instance": ("own_networks.small:network", "is a Linear; wanted a function"),
    "argument": ("own_networks.small:wants", "'width'; wanted a function without"),
    "fails": ("own_networks.small:fails", "raised ZeroDivisionError: division by zero"),
    "list": (
        "own_networks.small:other",
        r"returned a list; wanted a torch\.nn\.Module",
    ),
}


@pytest.mark.parametrize("kind", REFERENCES)
def test_functions_that_cannot_be_used(here: Path, kind: str) -> None:
    """One line that says what was found and what was wanted."""
    reference, message = REFERENCES[kind]
    with pytest.raises(InputError, match=message) as caught:
        call_factory(reference)
    assert "\n" not in str(caught.value)


def test_a_class_is_a_function(here: Path) -> None:
    """Calling it makes the network."""
    assert type(call_factory("own_networks.small:Net")).__name__ == "Net"


WEIGHTS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "missing": (
        lambda w: {k: v for k, v in w.items() if k != "head.bias"},
        r"no weights for 'head.bias'; wanted a tensor of shape \(3,\), as in the",
    ),
    "superfluous": (
        lambda w: {**w, "tail.weight": torch.ones(2, 5)},
        r"unknown weights 'tail.weight' of shape \(2, 5\); wanted only those of the",
    ),
    "misshapen": (
        lambda w: {**w, "head.weight": torch.ones(3, 7)},
        r"head.weight has shape \(3, 7\); wanted \(3, 2\), as in the network that own_",
    ),
    "NaN": (
        lambda w: {**w, "head.bias": w["head.bias"] * torch.nan},
        "NaN or infinity",
    ),
    "list": (lambda w: [1, 2], "holds a list without weights"),
    "nothing": (lambda w: {}, "holds a dict without weights"),
    "numbers": (lambda w: {"head.bias": 3}, "'head.bias' is a int; wanted a tensor"),
    "odd names": (lambda w: {3: torch.ones(2)}, "'3' is a Tensor; wanted a tensor"),
}


@pytest.mark.parametrize("kind", WEIGHTS)
def test_weights_that_do_not_fit(here: Path, kind: str) -> None:
    """The name, the shape found and the shape wanted."""
    change, message = WEIGHTS[kind]
    path = here / "weights.pt"
    torch.save(change(dict(_trained().state_dict())), path)
    with pytest.raises(CheckpointError, match=message) as caught:
        build_network(path, "own_networks.small:build")
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_checkpoints_of_ours_need_no_function(here: Path, suffix: str) -> None:
    """They know their network."""
    spec = ModelSpec(group="C4", width=0.05, input_size=17)
    path = here / f"ours.{suffix}"
    save_checkpoint(path, Checkpoint(spec, build_model(spec).state_dict()))
    with pytest.raises(CheckpointError, match="leave --factory out"):
        build_network(path, "own_networks.small:build")


class _Bomb:
    """Unpickling this makes a directory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.mkdir, (str(self.path),)


def test_code_runs_on_the_users_word_only(here: Path) -> None:
    """A pickled module is refused, and opened where it is trusted."""
    path, target = here / "x.pt", here / "executed"
    torch.save({"head.bias": _Bomb(target)}, path)
    with pytest.raises(CheckpointError, match="was not opened; wanted a state dict"):
        read_weights(path)
    assert not target.exists()
    with pytest.raises(CheckpointError):
        read_weights(path, trust_pickle=True)
    assert target.exists()


def test_pickled_modules_that_are_trusted(here: Path) -> None:
    """The whole module comes back; anything else that was pickled is refused."""
    # Of plain torch: what escnn keeps in its modules cannot be pickled.
    path, network = here / "x.pt", call_factory("own_networks.small:plain")
    torch.save(network, path)
    found = read_module(path)
    assert not found.training
    images = torch.randn(2, 4)
    with torch.no_grad():
        assert torch.equal(found(images), network.eval()(images))
    with pytest.raises(CheckpointError, match="holds Python objects, not only weights"):
        read_weights(path)
    # Its weights alone, for a function that builds the same.
    again = build_network(path, "own_networks.small:plain", trust_pickle=True)
    with torch.no_grad():
        assert torch.equal(again(images), found(images))
    torch.save({"a": torch.ones(1)}, path)
    with pytest.raises(CheckpointError, match="holds a dict; wanted a whole pickled"):
        read_module(path)


@pytest.mark.parametrize("read", [read_weights, read_module])
def test_files_that_are_something_else(
    here: Path, read: Callable[[Path], object]
) -> None:
    """Truncated, text, a pickle of another program, nothing, and no file."""
    path = here / "x.pt"
    torch.save(_trained().state_dict(), path)
    whole = path.read_bytes()
    for data in (whole[: len(whole) // 2], b"text", b"", pickle.dumps(3), b"\0" * 99):
        path.write_bytes(data)
        with pytest.raises(MobileqError) as caught:
            read(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read(here)


def test_modules_that_refuse_evaluation(here: Path) -> None:
    """What `eval()` raises is said in one line."""
    (here / "own_networks" / "refuses.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def train(self, mode=True):\n"
        "        if not mode: raise ValueError('never')\n"
        "        return self\n"
    )
    torch.save({"x": torch.ones(1)}, here / "x.pt")
    with pytest.raises(InputError, match=r"eval\(\) raised ValueError: never"):
        build_network(here / "x.pt", "own_networks.refuses:Net")
