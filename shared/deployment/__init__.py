"""Builds an app on its base, deploys it, and puts the last good image back."""
