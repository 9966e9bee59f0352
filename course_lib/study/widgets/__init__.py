"""Cards and quizzes in JupyterLab."""
