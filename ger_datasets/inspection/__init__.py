"""A prepared dataset -> one page to look at."""
