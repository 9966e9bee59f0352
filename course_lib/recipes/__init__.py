"""Whole runs from the command line: the notebooks' models at real scale."""
