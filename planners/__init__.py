"""How a policy improves: on real experience, in a dream, or both, inside a neighborhood of the behavior policy."""
