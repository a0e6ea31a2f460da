"""The front door to a dream's trust card: folders and names are opened here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import nn

from pellucid.checks.card import Trust
from pellucid.checks.dreams.card import dream_card
from pellucid.core.errors import BadModel
from pellucid.core.network import Network
from pellucid.core.samples import Collection, Samples
from pellucid.doors.open import open as open_network
from pellucid.doors.pictures.folder import pictures
from pellucid.dream.dream import Dream
from pellucid.trials.route import network_of


def check_dream(
    dream: Dream,
    net: Network | nn.Module | str | None = None,
    *,
    natural: Samples | Collection | str | Path | None = None,
    others: Sequence[Network | nn.Module | str] | None = None,
    trust: Trust = "standard",
    which: Sequence[str] | None = None,
) -> Dream:
    """The same dream with the trust card of each picture: believable, partly, or not at all, measured on the network.

    `net`: the network, for a dream from a file.  `natural`: a folder of pictures, or natural inputs as the network
    takes them, at least 24; with them the card says how the dream compares with real pictures.  `others`: networks of
    the same task, or what `pl.open` takes; by default those of the zoo that are installed and know the class by name.
    `trust`: "quick" moves each picture 4 times and opens no other network, "standard" 8 times, "thorough" 32 times, and
    dreams once more from another seed.  `which` names checks (`pellucid.checks.dreams`).  A check that cannot be made
    is UNKNOWN and says why.  Raises `Missing` when a dream from a file is given without its network, `BadModel` when
    the network has other weights, `BadOption` for checks and budgets that there are not.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 4, 3))
    >>> dream = pl.dream.maximize(net, pl.channel("2", 0), like=torch.rand(1, 3, 16, 16), steps=16)
    >>> [check.name for check in pl.check_dream(dream, trust="quick").checks[0]]
    ['activation', 'robustness', 'transfer', 'path_agreement', 'spectrum', 'forced_choice']
    """
    if net is not None:
        network = net if isinstance(net, Network) else open_network(net)
        if network.fingerprint != dream.fingerprint:
            raise BadModel(
                f"{network.name} has other weights than the {dream.network} that was dreamed of.", "Open that one."
            )
        dream = replace(dream, net=network)
    network = network_of(dream)
    found = pictures(network, natural) if isinstance(natural, str | Path) else natural
    readers = None if others is None else [o if isinstance(o, Network) else open_network(o) for o in others]
    return dream_card(dream, found, readers, trust=trust, which=which)
