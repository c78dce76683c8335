"""Environments: one file per family, each a ``VectorEnv``; none is imported before it is used."""
