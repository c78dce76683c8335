"""Every test of the benchmarks works in a directory of its own."""

from tests.support import own_directory as own_directory
