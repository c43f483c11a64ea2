"""What is agreed about the shape of the code, enforced."""
