"""Real scanners against the sandbox's stand-in: the verdicts on the same images (`make scan-real`)."""
