"""A network of the user's own: a function that builds it, and weights to put in.

The function is code, and the user names it (`package.module:build`); it is imported
and called as a web server does with its application. The weights are data: a state
dictionary, read without unpickling code. A whole pickled module is both in one file,
and opening it runs whatever the file says; that takes the user's word.
"""

from __future__ import annotations

import importlib
import inspect
import io
import pickle
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobileq.checkpoint import check_weights
from mobileq.checkpoint_files import FORMAT, refuse_compressed
from mobileq.errors import CheckpointError, InputError, UnsupportedError
from mobileq.reading import read_bounded

if TYPE_CHECKING:
    from torch import Tensor, nn

WRAPPERS = ("state_dict", "model_state_dict", "model", "weights")
"""Keys under which training scripts keep the state dictionary among other things."""


def build_network(
    path: Path, reference: str, *, trust_pickle: bool = False
) -> nn.Module:
    """The network that a function makes, with the weights of a file.

    Args:
        path: A state dictionary, `.pt` or `.safetensors`.
        reference: `package.module:function`; the function takes no argument and returns
            a module.
        trust_pickle: Unpickle whatever the file holds; this runs code in it.

    Returns:
        The module in evaluation mode.

    Raises:
        CheckpointError: the file is no state dictionary, or it does not fit.
        InputError: there is no such function, it fails, or it returns something else.
    """
    weights = read_weights(path, trust_pickle=trust_pickle)
    model = call_factory(reference)
    given = {k: v for k, v in weights.items() if k not in _derived(model)}
    wanted = f"the network that {reference} makes"
    check_weights(model.train(), given, source=str(path), wanted_by=wanted)
    model.load_state_dict({k: v.float() for k, v in given.items()})
    return _evaluated(model)


def read_module(path: Path) -> nn.Module:
    """A whole pickled module. This runs whatever code the file names.

    Raises:
        CheckpointError: it cannot be read, or is something else.
    """
    from torch import nn

    found = _unpickled(path, trust_pickle=True)
    if not isinstance(found, nn.Module):
        raise CheckpointError(
            f"{path}: holds a {type(found).__name__}; wanted a whole pickled module "
            f"for --trust-pickle (for a state dictionary: --factory "
            f"package.module:function)"
        )
    return _evaluated(found)


def read_weights(path: Path, *, trust_pickle: bool = False) -> dict[str, Tensor]:
    """Tensors by name, of a state dictionary or of one inside a training script's file.

    Raises:
        CheckpointError: it cannot be read, or is something else.
    """
    import torch

    found = _unpickled(path, trust_pickle=trust_pickle)
    if isinstance(found, dict) and found.get("format") == FORMAT:
        raise CheckpointError(
            f"{path}: a checkpoint of mobileq, which knows its own network; wanted a "
            f"plain state dictionary (leave --factory out)"
        )
    inner: Any = found
    for key in WRAPPERS:
        if isinstance(found, dict) and isinstance(found.get(key), Mapping):
            inner = found[key]
            break
    if isinstance(inner, torch.nn.Module):
        inner = inner.state_dict()
    if not isinstance(inner, Mapping) or not inner:
        raise CheckpointError(
            f"{path}: holds a {type(found).__name__} without weights; wanted a state "
            f"dictionary (torch.save(model.state_dict(), path))"
        )
    for name, value in inner.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise CheckpointError(
                f"{path}: {str(name)[:60]!r} is a {type(value).__name__}; wanted a "
                f"tensor, or a state dictionary under one of {', '.join(WRAPPERS)}"
            )
    return dict(inner)


def call_factory(reference: str) -> nn.Module:
    """Import `package.module:function` and call it.

    The current directory can be imported from, as for a script that lies there.

    Raises:
        InputError: there is no such function, it fails, or returns no module.
    """
    from torch import nn

    function = _function(reference)
    try:
        made = function()
    except Exception as error:
        raise InputError(
            f"{reference}: raised {_told(error)}; wanted a module"
        ) from error
    if not isinstance(made, nn.Module):
        raise InputError(
            f"{reference}: returned a {type(made).__name__}; wanted a torch.nn.Module"
        )
    return made


def _function(reference: str) -> Any:
    """What `package.module:function` names.

    Raises:
        InputError: there is no such thing, or it cannot be called without arguments.
    """
    from torch import nn

    name, _, attribute = reference.partition(":")
    if not name or not attribute.isidentifier() or name.startswith("."):
        raise InputError(
            f"--factory is {reference!r}; wanted package.module:function, such as "
            f"my_networks.classifier:build"
        )
    module = _imported(name)
    function = getattr(module, attribute, None)
    if function is None:
        raise InputError(
            f"--factory {reference}: {name} has no {attribute!r}; wanted a function of "
            f"{getattr(module, '__file__', None) or name}"
        )
    if isinstance(function, nn.Module) or not callable(function):
        raise InputError(
            f"--factory {reference}: is a {type(function).__name__}; wanted a function "
            f"that makes the network"
        )
    try:
        inspect.signature(function).bind()
    except TypeError as error:
        raise InputError(
            f"--factory {reference}: {error}; wanted a function without arguments"
        ) from error
    except ValueError:  # builtins have no signature; calling them tells
        pass
    return function


def _imported(name: str) -> Any:
    """A module by its name, from the current directory or what is installed.

    Raises:
        InputError: there is none, or importing it fails.
    """
    here = str(Path.cwd())
    if sys.path[:1] != [here]:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or name
        where = f"in {here} or among the installed packages"
        if name == missing or name.startswith(f"{missing}."):
            raise InputError(
                f"--factory: no module {missing!r}; wanted one {where}"
            ) from error
        raise InputError(
            f"--factory: {name} imports {missing!r}, which is not there; wanted it "
            f"{where}"
        ) from error
    except Exception as error:
        raise InputError(
            f"--factory: importing {name} raised {_told(error)}; wanted a module that "
            f"can be imported"
        ) from error


def _unpickled(path: Path, *, trust_pickle: bool) -> Any:
    """Content of a file; other objects than tensors and plain values only if trusted.

    Raises:
        CheckpointError: it cannot be read, or holds other objects.
    """
    import torch

    try:
        data = read_bounded(path)
        if data[:2] != b"PK" and data[8:9] == b"{":
            from safetensors.torch import load

            tensors = load(data)
            ours = (
                f'"{FORMAT}"'.encode() in data[: 8 + int.from_bytes(data[:8], "little")]
            )
            return {"format": FORMAT} if ours else tensors
        refuse_compressed(path, data)
        return torch.load(
            io.BytesIO(data), map_location="cpu", weights_only=not trust_pickle
        )
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be read ({error.strerror}); wanted a state dictionary"
        ) from error
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: holds Python objects, not only weights, and was not opened; "
            f"wanted a state dictionary (torch.save(model.state_dict(), path)), or "
            f"--trust-pickle, which runs whatever code the file names"
        ) from error
    except Exception as error:
        raise CheckpointError(
            f"{path}: cannot be read ({_told(error)}); wanted a whole .pt or "
            f".safetensors file"
        ) from error


def _derived(model: nn.Module) -> set[str]:
    """What is in the state dictionary in evaluation mode only.

    escnn keeps expanded filters there, which it computes anew from the weights.
    """
    during = set(model.train().state_dict())
    return set(_evaluated(model).state_dict()) - during


def _evaluated(model: nn.Module) -> nn.Module:
    """The module in evaluation mode.

    Raises:
        UnsupportedError: it refuses.
    """
    import torch

    try:
        # With gradients enabled, escnn's eval() keeps a graph of the expanded filters.
        with torch.no_grad():
            return model.eval()
    except Exception as error:
        raise UnsupportedError(
            f"model: eval() raised {_told(error)}; wanted a network to evaluate"
        ) from error


def _told(error: BaseException) -> str:
    """An exception's kind and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return (
        f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
    )
