"""What the optimizer moves: ways to write a picture as numbers.  A way is a file of its name."""
