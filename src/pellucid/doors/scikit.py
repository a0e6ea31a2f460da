"""scikit-learn's networks and linear models as torch modules, made of their numbers; no converter, no pickle."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pellucid.core.errors import BadModel
from pellucid.core.head import Head
from pellucid.core.network import Network

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "identity": nn.Identity,
    "logistic": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
}
_LOGISTIC = ("LogisticRegression", "LogisticRegressionCV", "MLPClassifier")
_AS_FUNCTION = "Give it as a function, for methods that need no look inside: pl.open(model.predict_proba)."


class Columns(nn.Module):
    """Each column moved and scaled: `(x - shift) / scale`, as scikit-learn's scalers do."""

    shift: Tensor
    scale: Tensor

    def __init__(self, shift: Float[Tensor, " columns"], scale: Float[Tensor, " columns"]) -> None:
        super().__init__()
        self.register_buffer("shift", shift)
        self.register_buffer("scale", scale)

    def forward(self, x: Float[Tensor, "batch columns"]) -> Float[Tensor, "batch columns"]:
        """The scaled columns."""
        return (x - self.shift) / self.scale


def is_estimator(what: object) -> bool:
    """Is it an object of scikit-learn?"""
    return any(base.__module__.partition(".")[0] == "sklearn" for base in type(what).__mro__)


def open_estimator(model: Any, *, name: str = "") -> Network:
    """A fitted multilayer perceptron or linear model of scikit-learn, or a pipeline that ends in one of these.

    What comes before may scale, center and turn (PCA); of a search, the best model is taken.  Scores are what lies
    before the softmax, the logistic function or the exponential; labels are its classes.  Raises `BadModel` for other
    estimators, and for one that is not fitted.

    >>> from types import SimpleNamespace
    >>> import numpy as np
    >>> line = SimpleNamespace(coef_=np.array([[1.0, -1.0]]), intercept_=np.array([0.5]), classes_=["no", "yes"])
    >>> open_estimator(line).model(torch.tensor([[2.0, 1.0]], dtype=torch.double)).tolist()
    [[1.5]]
    """
    steps = list(_steps(model))
    for step in steps:
        _refuse_unfitted(step)
    last = steps[-1]
    parts = [_scaler(step) for step in steps[:-1]] + _layers(last)
    scores = [len(p) for m in parts for p in m.parameters()][-1]
    classes = [str(c) for c in getattr(last, "classes_", ())]
    two = len(classes) == 2  # which one score tells apart: how far it speaks for the second
    labels = classes if scores == (1 if two else len(classes)) else []  # several answers at once have no classes
    logistic = two and scores == 1 and type(last).__name__ in _LOGISTIC
    columns = getattr(model, "feature_names_in_", None)
    notes = ["scikit-learn's weights, as a torch module; scores are before the last function."]
    if columns is not None:
        notes.append("Its columns: " + ", ".join(map(str, columns)) + ".")
    return Network(
        nn.Sequential(*parts), inputs=("columns",), labels=labels, name=name or type(last).__name__, notes=notes,
        head=Head(scores, "logit" if logistic else "score"),
    )  # fmt: skip


def _steps(model: Any) -> Iterator[Any]:
    """The steps of a pipeline, of pipelines within it, and of what a search found best."""
    best = getattr(model, "best_estimator_", None)
    if best is not None:
        yield from _steps(best)
    elif hasattr(model, "steps"):
        for _, step in model.steps:
            if step not in (None, "passthrough"):
                yield from _steps(step)
    else:
        yield model


def _refuse_unfitted(step: Any) -> None:
    if not is_estimator(step):
        return
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(step)
    except NotFittedError:
        raise BadModel(f"This {type(step).__name__} is not fitted.", "Call model.fit(x, y) first.") from None


def _layers(model: Any) -> list[nn.Module]:
    kind = type(model).__name__
    if hasattr(model, "coefs_"):
        between = _ACTIVATIONS[model.activation]
        made: list[nn.Module] = []
        for weights, bias in zip(model.coefs_, model.intercepts_, strict=True):
            made += [_linear(weights.T, bias), between()]
        return made[:-1]
    if kind in ("SVC", "NuSVC") and len(model.classes_) > 2:
        raise BadModel(f"A {kind} of several classes lets pairs of them vote, which is no layer.", _AS_FUNCTION)
    if hasattr(model, "coef_") and hasattr(model, "intercept_"):
        coefficients = torch.as_tensor(model.coef_)
        if coefficients.ndim == 1:
            coefficients = coefficients[None]
        bias = torch.as_tensor(model.intercept_).reshape(-1).expand(len(coefficients))
        return [_linear(coefficients, bias)]
    raise BadModel(f"A {kind} of scikit-learn has no layers to look into.", _AS_FUNCTION)


def _linear(weights: Any, bias: Any) -> nn.Linear:
    weights, bias = torch.as_tensor(weights), torch.as_tensor(bias)
    with torch.device("meta"):  # no random number is drawn for what is given
        layer = nn.Linear(weights.shape[1], weights.shape[0])
    layer.weight, layer.bias = (nn.Parameter(v.clone()) for v in (weights, bias))
    return layer.eval()


def _scaler(step: Any) -> nn.Module:
    kind = type(step).__name__
    if kind == "StandardScaler":
        size = int(step.n_features_in_)
        mean = step.mean_ if step.with_mean else [0.0] * size
        scale = step.scale_ if step.with_std else [1.0] * size
        return Columns(_double(mean), _double(scale))
    if kind == "MinMaxScaler" and not step.clip:
        return Columns(_double(-step.min_ / step.scale_), _double(1 / step.scale_))
    if kind == "MaxAbsScaler" and not getattr(step, "clip", False):
        return Columns(_double(step.scale_ * 0), _double(step.scale_))
    if kind == "PCA":
        turned = step.components_ / (step.explained_variance_[:, None] ** 0.5 if step.whiten else 1)
        return _linear(turned, -turned @ step.mean_)
    if kind == "RobustScaler":
        size = int(step.n_features_in_)
        center = step.center_ if step.with_centering else [0.0] * size
        scale = step.scale_ if step.with_scaling else [1.0] * size
        return Columns(_double(center), _double(scale))
    raise BadModel(f"The step {kind} of this pipeline cannot be put as a layer.", _AS_FUNCTION)


def _double(values: Any) -> Tensor:
    return torch.as_tensor(values, dtype=torch.double)
