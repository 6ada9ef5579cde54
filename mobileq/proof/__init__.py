"""Proofs that an integer file commutes with turning and mirroring the image.

    file --> Program --> prove --> Certificate
    (reader)  operators   rules     group, or the first operator that breaks it

Nothing here knows how the files are made: it imports no writer, no graph and no pass.
docs/exactness.md has the mathematics.
"""

from mobileq.proof.certificate import Certificate, certify_program
from mobileq.proof.motions import Motion
from mobileq.proof.program import Program
from mobileq.proof.prove import Break, Proof, prove

__all__ = [
    "Break",
    "Certificate",
    "Motion",
    "Program",
    "Proof",
    "certify_program",
    "prove",
]
