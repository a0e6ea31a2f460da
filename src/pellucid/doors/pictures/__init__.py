"""Pictures: decoded, and prepared as a network wants them."""
