"""The demo: provisions the whole reference scenario and plays it live, chapter by chapter."""
