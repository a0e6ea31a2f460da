"""What a network is made of: its graph, what it costs, what it holds, and how two networks differ."""
