"""From a trained escnn module to a graph of plain convolutions."""
