"""What the project says of its own speed and quality, measured."""
