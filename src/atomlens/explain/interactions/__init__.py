"""What atoms hear of each other, by distance."""
