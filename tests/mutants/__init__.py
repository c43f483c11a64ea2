"""Known bugs, planted into the code one at a time: for each, a test must fail."""
