"""Every error that mobileq raises on purpose.

    MobileqError                 base class; never raised itself
    +-- InputError               something the user gave is wrong        -> exit code 2
    |   +-- CheckpointError      a checkpoint that cannot be read or is not ours
    |   +-- DataError            a data set that is missing or inconsistent
    |   +-- RecipeError          an unknown or illegal option
    |   +-- BundleError          an output directory that exists or is incomplete
    |   +-- UnsupportedError     a layer or operation that cannot be deployed
    |   +-- NotInstalledError    a runtime whose package is not installed
    +-- GraphError               a graph that is illegal at its stage    -> exit code 2
    +-- SymmetryError            weights that break the claimed symmetry -> exit code 2
    +-- TrainingError            a run that cannot go on (NaN loss)      -> exit code 1
    +-- VerificationError        an exported file that disagrees         -> exit code 1
    +-- RuntimeProcessError      a runtime that crashed                  -> exit code 1

A message is one line that names the file or node, the value found, the value wanted and
the remedy. The command line prints that line and exits; a traceback is a bug.
"""

from __future__ import annotations


class MobileqError(Exception):
    """Base class of all errors below; `exit_code` is what the command line returns."""

    exit_code: int = 2


class InputError(MobileqError):
    """Something that the user handed in cannot be used."""


class CheckpointError(InputError):
    """A checkpoint is missing, damaged, foreign or of a newer format."""


class DataError(InputError):
    """A data set is missing, damaged or inconsistent."""


class RecipeError(InputError):
    """A recipe or an option of it is unknown or out of range."""


class BundleError(InputError):
    """A bundle exists already, or lacks a file that it should have."""


class UnsupportedError(InputError):
    """A module or operation has no counterpart in the deployed graph."""


class NotInstalledError(InputError):
    """A runtime is asked for whose package is not installed."""


class GraphError(MobileqError):
    """A graph breaks a rule of the stage that it is in."""


class SymmetryError(MobileqError):
    """Weights do not have the symmetry that their field types promise."""


class TrainingError(MobileqError):
    """A training run cannot continue."""

    exit_code = 1


class VerificationError(MobileqError):
    """Two representations of one network disagree by more than the tolerance."""

    exit_code = 1


class RuntimeProcessError(MobileqError):
    """The process in which a runtime works died, or failed in a way of its own."""

    exit_code = 1
