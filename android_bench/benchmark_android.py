#!/usr/bin/env python3
"""Time TFLite files on Android phones and Linux boards; needs only Python and adb.

    python benchmark_android.py model.mobileq --benchmark-binary benchmark_model

This file and the directory mobileq_android beside it are all that is needed.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from mobileq_android.command import main

if __name__ == "__main__":
    sys.exit(main())
