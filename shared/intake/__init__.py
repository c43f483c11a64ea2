"""From a hint to an observation, and from an observation to what it leads to."""
