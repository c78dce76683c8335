"""Studies: many trainings under one question, run in parallel, each a run directory of its own."""
