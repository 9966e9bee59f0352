"""What can be asked of a story, and the programs that read whether it was given: the truth that is known here."""
