"""The story: everything of the reference scenario is provisioned and played, chapter by chapter, before your eyes."""
