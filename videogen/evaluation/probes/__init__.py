"""What is measured on each frame as it streams by."""
