"""Turns hints into observations, and observations into candidates and promotions."""
