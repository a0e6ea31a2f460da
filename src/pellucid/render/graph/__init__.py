"""The map of a network: which boxes are seen, where they stand, and the page that shows them.

`web/src` holds the same algorithm for the browser; `web/vectors` keeps the two together to a millionth of a point.
"""
