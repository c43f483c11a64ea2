"""The gate itself: what it decides, how it orchestrates, and the adapters that touch Azure."""
