"""Reports: what a study found, with its statistics, tables, figures and one HTML page."""
