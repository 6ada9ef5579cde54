"""Proof that every representation of a network computes the same."""
