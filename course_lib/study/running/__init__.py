"""Running notebooks: in a fresh kernel, stored in one form, with what they cost and how they failed."""
