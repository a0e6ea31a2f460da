"""Dreams measured: photographs' statistics, recipes, cost of a step, quality against passes."""
