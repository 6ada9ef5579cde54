"""What the scripts of this folder share: paired timing, other quantizers, results."""
