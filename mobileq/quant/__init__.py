"""From a float graph to integers: affine maps, QuantSpec, and an integer executor."""
