"""Building an app on its base, deploying it, and putting the last good image back."""
