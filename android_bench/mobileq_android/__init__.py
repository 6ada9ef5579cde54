"""Benchmarks on Android phones; the phone harness will live here."""
