"""The whole product as a user meets it: programs that are started, and what they leave."""
