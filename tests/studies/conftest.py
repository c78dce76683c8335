"""Every test of studies works in a directory of its own."""

from tests.support import own_directory as own_directory
