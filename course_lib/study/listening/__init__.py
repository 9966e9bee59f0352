"""Episodes to listen to: a script for each notebook, written for the ear, and a voice that reads it."""
