"""The course's website: pages written from notebooks, cards, questions and docstrings, then built by Sphinx."""
