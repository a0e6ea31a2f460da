"""The proof of the trust card: networks whose reasons are known, and what the card says of maps that are known too.

`python -m benchmarks.trust` from the root of the repository runs it all and writes its section of RESULTS.md.
"""
