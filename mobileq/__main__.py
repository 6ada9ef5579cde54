"""`python -m mobileq`, and what `torchrun -m mobileq` starts."""

from __future__ import annotations

from mobileq.cli.app import main

if __name__ == "__main__":
    main()
