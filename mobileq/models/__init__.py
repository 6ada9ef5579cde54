"""escnn builders: MobileNetV2, rotation-equivariant, and its conventional twin."""
