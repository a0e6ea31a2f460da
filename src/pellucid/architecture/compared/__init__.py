"""Two networks beside each other: their structure, their weights, and what they make of the same inputs."""
