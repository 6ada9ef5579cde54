"""The paper's experiments: trained, exported, measured, and set beside its figures."""
