"""scikit-learn's models as torch modules, held against scikit-learn itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import pellucid as pl
from pellucid.core.errors import BadModel

sklearn: Any = pytest.importorskip("sklearn")


def data() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    x = rng.normal(2, 3, (60, 4))
    return x, (x @ [1, -1, 0.5, 0] > 1).astype(int) + (x[:, 0] > 5)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("classes", [2, 3])
def test_a_perceptron_says_what_scikit_learn_says(activation: str, classes: int) -> None:
    from sklearn.neural_network import MLPClassifier

    x, y = data()
    y = np.minimum(y, classes - 1)
    model = MLPClassifier((5, 3), activation=activation, max_iter=30, random_state=0).fit(x, y)
    net = pl.open(model)
    with torch.no_grad():
        out = net.model(torch.from_numpy(x))
    found = out.softmax(1) if classes > 2 else torch.cat([1 - out.sigmoid(), out.sigmoid()], 1)
    assert np.allclose(found.numpy(), model.predict_proba(x), atol=1e-12)
    assert net.labels == (("0", "1", "2") if classes == 3 else ("1",))
    why = pl.methods.integrated_gradients(net, torch.from_numpy(x[:2]), 0, steps=64)
    assert why.values.shape == (2, 4)


@pytest.mark.parametrize("scaler", ["StandardScaler", "MinMaxScaler", "RobustScaler"])
def test_pipelines_of_scalers_and_regressions(scaler: str) -> None:
    from sklearn import linear_model, pipeline, preprocessing

    x, y = data()
    for last in (linear_model.LogisticRegression(), linear_model.Ridge()):
        model = pipeline.make_pipeline(getattr(preprocessing, scaler)(), last).fit(x, y)
        with torch.no_grad():
            out = pl.open(model).model(torch.from_numpy(x)).numpy()
        wanted = model.decision_function(x) if hasattr(last, "predict_proba") else model.predict(x)[:, None]
        assert np.allclose(out, wanted, atol=1e-10)


def estimators() -> dict[str, Any]:
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression, PoissonRegressor
    from sklearn.model_selection import GridSearchCV
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MaxAbsScaler, StandardScaler

    small = {"hidden_layer_sizes": (6, 4), "max_iter": 30, "random_state": 0}
    return {
        "perceptron after a scaler": make_pipeline(StandardScaler(), MLPClassifier(**small)),
        "regression by a perceptron": make_pipeline(StandardScaler(with_std=False), MLPRegressor(**small)),
        "counts by a perceptron": MLPRegressor(loss="poisson", **small),
        "pipelines within": make_pipeline(make_pipeline(MaxAbsScaler(), "passthrough"), LogisticRegression()),
        "turned": make_pipeline(StandardScaler(), PCA(2), LogisticRegression()),
        "whitened": make_pipeline(PCA(3, whiten=True), LogisticRegression()),
        "the best of a search": GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=2),
        "counts": PoissonRegressor(),
    }


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", list(estimators()))
def test_fitted_estimators_say_what_scikit_learn_says(name: str) -> None:
    x, y = data()
    model = estimators()[name].fit(x, y)
    with torch.no_grad():
        out = pl.open(model).model(torch.from_numpy(x)).numpy()
    if hasattr(model, "predict_proba"):
        found, wanted = np.exp(out) / np.exp(out).sum(1, keepdims=True), model.predict_proba(x)
        assert pl.open(model).labels == ("0", "1", "2")
    else:
        found, wanted = (np.exp(out) if name.startswith("counts") else out)[:, 0], model.predict(x)
    assert np.allclose(found, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_several_answers_at_once_have_no_classes() -> None:
    from sklearn.neural_network import MLPClassifier

    x, y = data()
    both = np.stack([y > 0, y > 1], 1).astype(int)
    net = pl.open(MLPClassifier((4,), max_iter=20, random_state=0).fit(x, both))
    assert net.labels == () and net.model(torch.from_numpy(x)).shape == (60, 2)


def test_other_estimators_are_refused_with_the_way_on() -> None:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures, StandardScaler
    from sklearn.svm import SVC

    x, y = data()
    forest = RandomForestClassifier(3, random_state=0).fit(x, y)
    with pytest.raises(BadModel, match="has no layers"):
        pl.open(forest)
    assert pl.methods.occlusion(pl.open(forest.predict_proba), torch.from_numpy(x[:1]), 0).values.shape == (1, 4)
    for bare in (MLPRegressor(), LogisticRegression(), make_pipeline(StandardScaler(), LogisticRegression())):
        with pytest.raises(BadModel, match="is not fitted"):
            pl.open(bare)
    with pytest.raises(BadModel, match="lets pairs of them vote"):
        pl.open(SVC(kernel="linear").fit(x, y))
    with pytest.raises(BadModel, match="PolynomialFeatures"):
        pl.open(
            make_pipeline(PolynomialFeatures(), MLPRegressor(hidden_layer_sizes=(2,), max_iter=200, tol=1)).fit(x, y)
        )
