"""Group-relative policy optimisation, and rewards that a program can verify."""
