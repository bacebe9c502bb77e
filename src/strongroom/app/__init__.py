"""The composition root: configuration in, a running archive out."""
