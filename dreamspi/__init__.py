"""DreamSPI: safe policy improvement in learned world models (arXiv 2510.12312), as an experiment to run."""

__version__ = "0.1.0"
