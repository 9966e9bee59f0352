"""Who judges, how noisily, what they compared, and what many of them together say."""
