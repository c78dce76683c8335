"""The same theory where everything is exact: finite MDPs, their abstractions, and the theorems on them."""
