"""Which report belongs to which kind of result."""

from __future__ import annotations

from functools import singledispatch

from pellucid.architecture.architecture import Architecture
from pellucid.architecture.compared.difference import Difference
from pellucid.architecture.weights import Weights
from pellucid.checks.card import trust_card
from pellucid.concepts.between import Between
from pellucid.concepts.found import Concepts
from pellucid.concepts.groups import Groups
from pellucid.concepts.references import References
from pellucid.concepts.relevance import Relevance
from pellucid.concepts.tested import Tcav
from pellucid.core.explanation import Explanation
from pellucid.core.shown import Shown
from pellucid.dream.atlas import Atlas
from pellucid.dream.circuits import Expansion
from pellucid.dream.dream import Dream
from pellucid.dream.embedding import Embedding
from pellucid.dream.evolution import Evolution
from pellucid.dream.filters import Filters
from pellucid.dream.grid import ActivationGrid
from pellucid.dream.patches import Patches
from pellucid.dream.words import Words
from pellucid.surfaces.check_dream import check_dream
from pellucid.surfaces.explain import Comparison
from pellucid.views.architecture import architecture_figure, architecture_view
from pellucid.views.atlas import atlas_view, grid_view
from pellucid.views.attribution import attribution, figure
from pellucid.views.channels import between_view, groups_view, references_view, relevance_view
from pellucid.views.circuits import circuits_view
from pellucid.views.comparison import comparison
from pellucid.views.concepts import concepts_figure, concepts_view
from pellucid.views.difference import difference_view
from pellucid.views.dream import dream_figure, dream_view
from pellucid.views.embedding import embedding_view
from pellucid.views.filters import evolution_view, filters_view
from pellucid.views.patches import patches_figure, patches_view
from pellucid.views.tcav import tcav_figure, tcav_view
from pellucid.views.view import View
from pellucid.views.weights import weights_view
from pellucid.views.words import words_view


@singledispatch
def report(subject: Shown, still: bool) -> View:
    """The report on a result; `still` is the part of it that fits on one picture."""
    raise TypeError(f"There is no report on a {type(subject).__name__}.")


@report.register
def _(subject: Explanation, still: bool) -> View:
    tested = subject
    if not subject.checks and subject.score is not None:
        tested = subject.with_checks(trust_card(subject))
    return figure(tested) if still else attribution(tested)


@report.register
def _(subject: Comparison, still: bool) -> View:
    return comparison(subject.explanations, subject.skipped, subject.standings)


@report.register
def _(subject: Embedding, still: bool) -> View:
    return embedding_view(subject, still=still)


@report.register
def _(subject: Atlas, still: bool) -> View:
    return atlas_view(subject, still=still)


@report.register
def _(subject: ActivationGrid, still: bool) -> View:
    return grid_view(subject, still=still)


@report.register
def _(subject: Expansion, still: bool) -> View:
    return circuits_view(subject, still=still)


@report.register
def _(subject: Dream, still: bool) -> View:
    tested = subject
    if not subject.checks and subject.what == "maximize" and subject.net is not None:
        tested = check_dream(subject, trust="quick")
    return dream_figure(tested) if still else dream_view(tested)


@report.register
def _(subject: Concepts, still: bool) -> View:
    return concepts_figure(subject) if still else concepts_view(subject)


@report.register
def _(subject: Tcav, still: bool) -> View:
    return tcav_figure(subject) if still else tcav_view(subject)


@report.register
def _(subject: Relevance, still: bool) -> View:
    return relevance_view(subject)


@report.register
def _(subject: References, still: bool) -> View:
    return references_view(subject)


@report.register
def _(subject: Groups, still: bool) -> View:
    return groups_view(subject)


@report.register
def _(subject: Between, still: bool) -> View:
    return between_view(subject)


@report.register
def _(subject: Words, still: bool) -> View:
    return words_view(subject)


@report.register
def _(subject: Patches, still: bool) -> View:
    return patches_figure(subject) if still else patches_view(subject)


@report.register
def _(subject: Filters, still: bool) -> View:
    return filters_view(subject)


@report.register
def _(subject: Evolution, still: bool) -> View:
    return evolution_view(subject)


@report.register
def _(subject: Architecture, still: bool) -> View:
    return architecture_figure(subject) if still else architecture_view(subject)


@report.register
def _(subject: Difference, still: bool) -> View:
    return difference_view(subject, still=still)


@report.register
def _(subject: Weights, still: bool) -> View:
    return weights_view(subject, still=still)
