"""What a drawn dream is made with: canvas, parametrizations, views, prices, steps."""
