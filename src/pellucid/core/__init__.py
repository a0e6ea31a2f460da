"""The nouns: network, site, target, rule, score, explanation, check, run, option; and recording."""
