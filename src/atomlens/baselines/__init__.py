"""What simple methods reach on the same data and the same split, so that a network never stands alone."""
