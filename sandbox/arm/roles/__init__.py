"""Role definitions and role assignments."""
