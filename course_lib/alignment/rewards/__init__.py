"""Reward models, how good they are, and choosing among completions by them."""
