"""The triggers, driven with the objects that the Functions worker passes."""
