"""What people write for learners: cards, questions, concepts; read, checked, graded and shown."""
