"""A scene taken apart into levels: one for each frame, with ports where wires pass through its border.

What leaves a box leaves every frame around it through one port, and enters every frame through one port, however many
boxes inside take it: wires of one source share their way.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pellucid.render.graph.scene import Scene


@dataclass(frozen=True, slots=True)
class Hop:
    """The part of a wire that lies in one frame: from an item or an entry to an item or an exit.

    Ends are numbers of items (in `Part.items`); None means the port of `key`, the box from which the wire comes.
    """

    source: int | None
    target: int | None
    key: int


@dataclass(slots=True)
class Part:
    """What one frame holds: its items (`i` a box, `~f` a frame) in order, its hops, and its ports by source box."""

    items: list[int] = field(default_factory=list)
    hops: dict[Hop, int] = field(default_factory=dict)
    entries: dict[int, int] = field(default_factory=dict)
    exits: dict[int, int] = field(default_factory=dict)

    def hop(self, source: int | None, target: int | None, key: int) -> int:
        """The number of a hop; the same hop of another wire is not another one."""
        if source is None:
            self.entries.setdefault(key, len(self.entries))
        if target is None:
            self.exits.setdefault(key, len(self.exits))
        return self.hops.setdefault(Hop(source, target, key), len(self.hops))


def parts(scene: Scene) -> tuple[list[Part], list[list[tuple[int, int]]]]:
    """The part of every frame, and every wire as (frame, hop) from its source to its target; nothing for far wires."""
    found = [Part() for _ in scene.frames]
    slot_of_box, slot_of_frame = _slots(scene, found)
    depth = [0] * len(scene.frames)
    for f in range(1, len(scene.frames)):
        depth[f] = depth[scene.frames[f].parent] + 1
    ways: list[list[tuple[int, int]]] = []
    for wire in scene.wires:
        out: list[tuple[int, int]] = []
        back: list[tuple[int, int]] = []
        ways.append(out)
        if wire.far:
            continue
        a, b = scene.boxes[wire.source].frame, scene.boxes[wire.target].frame
        start, end = slot_of_box[wire.source], slot_of_box[wire.target]
        while a != b:
            if depth[a] >= depth[b]:
                out.append((a, found[a].hop(start, None, wire.source)))
                start, a = slot_of_frame[a], scene.frames[a].parent
            else:
                back.append((b, found[b].hop(None, end, wire.source)))
                end, b = slot_of_frame[b], scene.frames[b].parent
        out.append((a, found[a].hop(start, end, wire.source)))
        out += reversed(back)
    return found, ways


def _slots(scene: Scene, found: list[Part]) -> tuple[list[int], list[int]]:
    """Fill the items of each part in order of running; the slot of each box and frame in the part around it."""
    slot_of_box = [0] * len(scene.boxes)
    slot_of_frame = [0] * len(scene.frames)
    entered = 1  # Frames are numbered as a walk through the boxes enters them.
    for b, box in enumerate(scene.boxes):
        while entered <= box.frame:
            around = found[scene.frames[entered].parent]
            slot_of_frame[entered] = len(around.items)
            around.items.append(~entered)
            entered += 1
        slot_of_box[b] = len(found[box.frame].items)
        found[box.frame].items.append(b)
    return slot_of_box, slot_of_frame
