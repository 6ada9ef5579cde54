"""mobileq: from a trained equivariant CNN to verified INT8 files on a phone."""

import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mobileq.api import export

__all__ = ["__version__", "export"]

__version__ = "0.1.0"

# escnn warns at import that py3nj is missing, which it needs in three dimensions only.
warnings.filterwarnings("ignore", message=".*py3nj.*", category=UserWarning)


def __getattr__(name: str) -> Any:
    """`mobileq.export`, imported when it is first asked for."""
    if name == "export":
        return import_module("mobileq.api").export
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
