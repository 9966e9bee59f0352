"""What a learner has done, kept in one file, and when each card comes back."""
