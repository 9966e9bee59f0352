"""The course as a whole, for those who search, plan or teach with it."""
