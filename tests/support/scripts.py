"""Programs that tests write: Python scripts that can be run by their name."""

from __future__ import annotations

import sys

HEADER = f'#!/bin/sh\n"exec" "{sys.executable}" "$0" "$@"\n'
"""Begins a script for this Python, wherever it is: the kernel takes no blank in a path
behind `#!`. For sh the second line is a command, for Python a constant."""
