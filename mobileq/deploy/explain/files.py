"""An explanation as files of a bundle."""

from __future__ import annotations

import json

from mobileq.deploy.explain.report import Explanation

DATA = "explain.json"
PICTURE = "explain.svg"


def explanation_files(explanation: Explanation) -> dict[str, bytes]:
    """The numbers and the picture, content by file name."""
    # Imported late: only an explanation needs it.
    from mobileq.deploy.explain.plot import picture

    text = json.dumps(explanation.to_dict(), allow_nan=False, separators=(",", ":"))
    return {DATA: f"{text}\n".encode(), PICTURE: picture(explanation)}
