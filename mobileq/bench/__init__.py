"""What a network costs and how well it holds: speed, size, accuracy, symmetry."""
