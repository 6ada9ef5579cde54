"""The intermediate representation: an immutable graph of a network for inference."""
