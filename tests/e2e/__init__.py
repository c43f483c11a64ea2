"""The whole product from a user's view: programs that are started, and what they leave."""
