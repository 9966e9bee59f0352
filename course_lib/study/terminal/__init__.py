"""Cards and quizzes in the terminal."""
