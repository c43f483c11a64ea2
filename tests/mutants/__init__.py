"""Known bugs, put into a copy of the code one at a time: for each, a test must fail."""
