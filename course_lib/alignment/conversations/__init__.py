"""Conversations as tokens: the template, what of them is trained on, batches, and asking a model that knows it."""
