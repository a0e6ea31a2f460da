"""A graph in the DOT language of Graphviz: modules as clusters, operations as boxes, shapes on the edges."""

from __future__ import annotations

from collections.abc import Iterator

from pellucid.architecture.graph import ROOT, Graph, shape_text
from pellucid.render.marks import LIGHT
from pellucid.render.plain import visible


def dot(graph: Graph) -> str:
    r"""The whole graph as a text that `dot -Tsvg` draws; names are quoted, so that none of them is read as code.

    >>> from pellucid.architecture.graph import Edges, nodes, only_root
    >>> print(dot(Graph('a"b', "", nodes("relu"), only_root("Net"), Edges())))
    digraph "a\"b" {
      graph [fontname="Helvetica", rankdir=TB, label="a\"b"];
      node [fontname="Helvetica", fontsize=11, shape=box, style="filled,rounded", fontcolor="#ffffff"];
      edge [fontname="Helvetica", fontsize=9, color="#5c636d"];
      n0 [label="relu", fillcolor="#4b4f55"];
    }
    """
    name = quoted(graph.name)
    lines = [
        f"digraph {name} {{",
        f'  graph [fontname="Helvetica", rankdir=TB, label={name}];',
        f'  node [fontname="Helvetica", fontsize=11, shape=box, style="filled,rounded", fontcolor="{LIGHT["title"]}"];',
        f'  edge [fontname="Helvetica", fontsize=9, color="{LIGHT["quiet"]}"];',
        *_groups(graph),
        *_edges(graph),
        "}",
    ]
    return "\n".join(lines)


def quoted(text: str, *more: str) -> str:
    r"""A DOT string of one or more lines, in which nothing is an escape.

    >>> quoted('a"b\\n', "c")
    '"a\\"b\\\\n\\nc"'
    """
    lines = (visible(t).replace("\\", "\\\\").replace('"', '\\"') for t in (text, *more) if t)
    return '"' + "\\n".join(lines) + '"'


def _groups(graph: Graph) -> Iterator[str]:
    """Every group as a cluster inside its parent's, its own operations first; no recursion, however deep it is."""
    own: list[list[int]] = [[] for _ in graph.groups.parent]
    for node, group in enumerate(graph.nodes.group):
        own[group].append(node)
    children = graph.children
    ahead: list[tuple[int, int, bool]] = [(ROOT, 0, True)]
    while ahead:
        group, depth, entering = ahead.pop()
        pad = "  " * (depth + 1)
        if not entering:
            yield "  " * depth + "}"
            continue
        if group != ROOT:
            title = quoted(graph.groups.path[group].rpartition(".")[2], graph.groups.kind[group])
            color = f'style=rounded, color="{LIGHT["mute"]}"'
            yield f"{'  ' * depth}subgraph cluster_{group} {{ label={title}; {color.replace(', ', '; ')};"
            ahead.append((group, depth, False))
        for node in own[group]:
            label = quoted(graph.nodes.op[node], graph.nodes.label[node])
            yield f'{pad}n{node} [label={label}, fillcolor="{LIGHT[graph.nodes.family[node]]}"];'
        ahead.extend((child, depth + 1, True) for child in reversed(children[group]))


def _edges(graph: Graph) -> Iterator[str]:
    edges = graph.edges
    for source, target, shape in zip(edges.source, edges.target, edges.shape, strict=True):
        text = shape_text(shape)
        yield f"  n{source} -> n{target}{f' [label={quoted(text)}]' if text else ''};"
