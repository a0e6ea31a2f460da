"""Classical machine learning in ONNX files: linear models, support vectors and trees as scikit-learn has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn import datasets, ensemble, linear_model, svm, tree

from pellucid.core.errors import BadModel
from tests.onnx_single import answer, answers, imported, numbers, single

ML = "ai.onnx.ml"
FLOWERS, KINDS = datasets.load_iris(return_X_y=True)
FLOWERS = FLOWERS.astype(np.float32)


def test_a_linear_classifier_is_scikit_learns():
    known = linear_model.LogisticRegression(max_iter=200).fit(FLOWERS, KINDS)
    label, shares = answers(
        "LinearClassifier", FLOWERS, outputs=2, domain=ML, coefficients=known.coef_.ravel().tolist(),
        intercepts=known.intercept_.tolist(), classlabels_ints=[0, 1, 2], post_transform="SOFTMAX",
    )  # fmt: skip
    np.testing.assert_array_equal(label.numpy(), known.predict(FLOWERS))
    np.testing.assert_allclose(shares.numpy(), known.predict_proba(FLOWERS), atol=2e-6)


def machine(known: Any, kernel: str, labels: list[int]) -> dict[str, Any]:
    """A fitted support vector machine as attributes."""
    return {
        "kernel_type": kernel, "kernel_params": [known._gamma, known.coef0, float(known.degree)],
        "support_vectors": known.support_vectors_.ravel().tolist(), "classlabels_ints": labels,
        "vectors_per_class": known.n_support_.tolist(), "coefficients": known.dual_coef_.ravel().tolist(),
        "rho": known.intercept_.tolist(),
    }  # fmt: skip


@pytest.mark.parametrize("kernel", ["LINEAR", "POLY", "RBF", "SIGMOID"])
def test_support_vectors_are_scikit_learns(kernel: str):
    known = svm.SVC(kernel=kernel.lower(), gamma=0.05, coef0=0.1, decision_function_shape="ovo").fit(FLOWERS, KINDS)
    label, scores = answers("SVMClassifier", FLOWERS, outputs=2, domain=ML, **machine(known, kernel, [0, 1, 2]))
    np.testing.assert_array_equal(label.numpy(), known.predict(FLOWERS))
    np.testing.assert_allclose(scores.numpy(), known.decision_function(FLOWERS), rtol=1e-3, atol=1e-4)


def test_a_support_vector_regression_has_the_gradient_of_its_kernels():
    known = svm.SVR(gamma=0.2).fit(FLOWERS, FLOWERS[:, 0] * KINDS)
    options = {
        "kernel_type": "RBF", "kernel_params": [0.2, 0.0, 3.0], "n_supports": len(known.support_),
        "support_vectors": known.support_vectors_.ravel().tolist(), "rho": known.intercept_.tolist(),
        "coefficients": known.dual_coef_.ravel().tolist(),
    }  # fmt: skip
    found = answer("SVMRegressor", FLOWERS, domain=ML, **options)
    np.testing.assert_allclose(found[:, 0].numpy(), known.predict(FLOWERS), rtol=1e-4, atol=1e-4)
    model, fed = single("SVMRegressor", FLOWERS[:2].astype(np.float64), domain=ML, **options)
    x = torch.from_numpy(fed["x0"]).requires_grad_()
    assert torch.autograd.gradcheck(imported(model), (x,))


def nodes(known: Any) -> dict[str, Any]:
    """The nodes of a fitted tree as attributes."""
    t, count = known.tree_, known.tree_.node_count
    leaf = t.children_left < 0
    return {
        "nodes_treeids": [0] * count, "nodes_nodeids": list(range(count)), "nodes_featureids": np.maximum(t.feature, 0),
        "nodes_values": t.threshold, "nodes_modes": ["LEAF" if end else "BRANCH_LEQ" for end in leaf],
        "nodes_truenodeids": np.maximum(t.children_left, 0), "nodes_falsenodeids": np.maximum(t.children_right, 0),
    } | {"leaves": np.flatnonzero(leaf)}  # fmt: skip


def plain(options: dict[str, Any]) -> dict[str, Any]:
    return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in options.items() if k != "leaves"}


def test_a_tree_is_scikit_learns():
    known = tree.DecisionTreeRegressor(max_depth=4, random_state=0).fit(FLOWERS[:, 1:], FLOWERS[:, 0])
    options = nodes(known)
    leaves = options["leaves"].tolist()
    found = answer(
        "TreeEnsembleRegressor", FLOWERS[:, 1:], domain=ML, n_targets=1, target_treeids=[0] * len(leaves),
        target_nodeids=leaves, target_ids=[0] * len(leaves), target_weights=known.tree_.value[leaves, 0, 0].tolist(),
        **plain(options),
    )  # fmt: skip
    np.testing.assert_allclose(found[:, 0].numpy(), known.predict(FLOWERS[:, 1:]), rtol=1e-5)


def test_a_forest_is_scikit_learns():
    whole = np.rint(FLOWERS * 10)  # between whole numbers, thresholds are exact
    known = ensemble.RandomForestClassifier(4, max_depth=4, random_state=0).fit(whole, KINDS)
    together: dict[str, list[Any]] = {}
    for i, one in enumerate(known.estimators_):
        options = nodes(one)
        shares = one.tree_.value[:, 0] / one.tree_.value[:, 0].sum(-1, keepdims=True) / 4
        said = [(leaf, c) for leaf in options["leaves"].tolist() for c in range(3)]
        more = {
            "class_treeids": [i] * len(said), "class_nodeids": [leaf for leaf, _ in said],
            "class_ids": [c for _, c in said], "class_weights": [float(shares[leaf, c]) for leaf, c in said],
        }  # fmt: skip
        for key, values in (plain(options) | {"nodes_treeids": [i] * one.tree_.node_count} | more).items():
            together.setdefault(key, []).extend(values)
    label, scores = answers(
        "TreeEnsembleClassifier", whole, outputs=2, domain=ML, classlabels_strings=["a", "b", "c"], **together
    )
    np.testing.assert_array_equal(label, np.array(["a", "b", "c"])[known.predict(whole)])
    np.testing.assert_allclose(scores.numpy(), known.predict_proba(whole), atol=1e-6)


STUMP: dict[str, Any] = {
    "nodes_treeids": [0, 0, 0], "nodes_nodeids": [0, 1, 2], "nodes_featureids": [0, 0, 0],
    "nodes_values": [0.5, 0.0, 0.0], "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"], "nodes_truenodeids": [1, 0, 0],
    "nodes_falsenodeids": [2, 0, 0], "target_treeids": [0, 0], "target_nodeids": [1, 2], "target_ids": [0, 0],
    "target_weights": [10.0, 20.0], "n_targets": 1,
}  # fmt: skip


@pytest.mark.parametrize(
    ("mode", "wanted"),
    [("LEQ", [10, 10, 20]), ("LT", [10, 20, 20]), ("GTE", [20, 10, 10]), ("GT", [20, 20, 10]), ("EQ", [20, 10, 20]),
     ("NEQ", [10, 20, 10])],
)  # fmt: skip
def test_every_comparison(mode: str, wanted: list[int]):
    options = STUMP | {"nodes_modes": [f"BRANCH_{mode}", "LEAF", "LEAF"]}
    x = np.array([[0.4], [0.5], [0.6]], np.float32)
    assert answer("TreeEnsembleRegressor", x, domain=ML, **options)[:, 0].tolist() == wanted


@pytest.mark.parametrize(("tracked", "wanted"), [([1, 0, 0], 10), ([0, 0, 0], 20)])
def test_a_missing_value_goes_where_it_is_said_to_go(tracked: list[int], wanted: int):
    options = STUMP | {"nodes_missing_value_tracks_true": tracked}
    x = np.array([[np.nan]], np.float32)
    assert answer("TreeEnsembleRegressor", x, domain=ML, **options).item() == wanted


@pytest.mark.parametrize("children", [[2, 0, 0], [9, 0, 0]])
def test_what_is_no_tree_is_refused(children: list[int]):
    x = np.zeros((1, 1), np.float32)
    with pytest.raises(BadModel, match="tree"):
        answer("TreeEnsembleRegressor", x, domain=ML, **STUMP | {"nodes_truenodeids": children})


@pytest.mark.parametrize(("norm", "size"), [("MAX", 4.0), ("L1", 7.0), ("L2", 5.0)])
def test_normalizing(norm: str, size: float):
    x = np.array([[3.0, 4.0], [0.0, 0.0]], np.float32)
    np.testing.assert_allclose(answer("Normalizer", x, domain=ML, norm=norm).numpy(), x / [[size], [1.0]], rtol=1e-6)


def test_tables():
    x = np.array([[1.0, np.nan], [3.0, 4.0]], np.float32)
    fixed = answer("Imputer", x, domain=ML, imputed_value_floats=[8.0, 9.0], replaced_value_float=float("nan"))
    assert fixed.tolist() == [[1, 9], [3, 4]]
    assert answer("Scaler", x[1:], domain=ML, offset=[1.0, 2.0], scale=[0.5, 3.0]).tolist() == [[1, 6]]
    joined = answer("FeatureVectorizer", x[1:], x[1:] * 2, domain=ML, inputdimensions=[2, 2])
    assert joined.tolist() == [[3, 4, 6, 8]]
    hot = answer("OneHotEncoder", np.array([7, 5], np.int64), domain=ML, cats_int64s=[5, 6, 7])
    assert hot.tolist() == [[0, 0, 1], [1, 0, 0]]
    scores = numbers(1, 2, 3)
    np.testing.assert_array_equal(answer("ZipMap", scores, domain=ML, classlabels_int64s=[0, 1, 2]).numpy(), scores)
