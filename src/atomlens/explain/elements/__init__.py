"""What a model knows of elements before any neighbour is heard."""
