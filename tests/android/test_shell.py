"""Text for a device's shell: nothing in a name is ever executed."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mobileq_android.errors import PhoneError, one_line
from mobileq_android.shell import quoted

SHELLS = ("sh", "bash")
NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="\0"), max_size=40
) | st.sampled_from(["$(id)", "`id`", "; rm -rf .", "a b", "'", '"', "\\", "-n", "\n"])


@given(st.lists(NAMES, min_size=1, max_size=5))
@example(
    ["$(touch pwned)", "`touch pwned`", "'; touch pwned; '", "a\nb", "*", "~", "é"]
)
def test_the_shell_makes_the_same_arguments(arguments: list[str]) -> None:
    """A real shell hands a program exactly what was quoted, byte for byte."""
    command = quoted(["printf", "%s\\0", *arguments])
    for shell in SHELLS:
        done = subprocess.run([shell, "-c", command], capture_output=True, check=True)
        assert done.stdout.decode().split("\0")[:-1] == arguments


def test_nul_is_refused() -> None:
    """No program can be given one."""
    with pytest.raises(PhoneError, match="NUL"):
        quoted(["echo", "a\0b"])


@given(st.text())
def test_words_of_others_stay_on_one_line(text: str) -> None:
    """No control character of a tool's output reaches the terminal."""
    line = one_line(text)
    assert line.isprintable()
    assert len(line) <= 203
