"""What computes models: one module for each engine, imported when an artifact needs it."""
