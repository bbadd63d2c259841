"""The last layer alone: the regression, and its training."""

import pytest
import torch
from made_training import Noise, classifier, same
from torch import Tensor
from torch.nn import functional as F

from cgn.classifiers.imagenet_sources import TrainingImages
from cgn.classifiers.last_layer import LastLayerTraining, logistic_regression
from cgn.errors import InputError
from cgn.models.ensemble import ONE_HEAD
from cgn.rng import stream


def separable(num: int) -> tuple[Tensor, Tensor]:
    labels = torch.arange(num) % 3
    features = torch.randn(num, 5, generator=stream(0, "features")) + 1.5 * F.one_hot(labels, 5)
    return features * torch.tensor([1.0, 10.0, 0.1, 1.0, 1.0]), labels


def test_a_regression_is_scikit_learns() -> None:
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415

    features, labels = separable(60)
    l2 = 0.01
    fit = logistic_regression(features, labels, torch.full((60,), 1 / 60), num_classes=3, l2=l2, field="x")
    standardised = (features - features.mean(0)) / features.std(0, correction=0)
    other = LogisticRegression(C=1 / (l2 * 60), tol=1e-8, max_iter=5000).fit(standardised.numpy(), labels.numpy())
    expected = torch.from_numpy(other.predict_proba(standardised.numpy())).float()
    assert torch.allclose((features @ fit.weight.T + fit.bias).softmax(1), expected, atol=1e-4)
    assert fit.gradient < 1e-5


def test_weights_of_images_count_as_if_they_were_there_several_times() -> None:
    features, labels = separable(30)
    shares = torch.ones(30)
    shares[:10] = 3
    one = logistic_regression(features, labels, shares, num_classes=3, l2=0.1, field="x")
    again = torch.cat([features, features[:10], features[:10]]), torch.cat([labels, labels[:10], labels[:10]])
    two = logistic_regression(*again, torch.ones(50), num_classes=3, l2=0.1, field="x")
    assert torch.allclose(one.weight, two.weight, atol=1e-4)
    assert one.loss == pytest.approx(two.loss, rel=1e-5)


def test_a_constant_feature_and_a_class_without_images_do_no_harm() -> None:
    features, labels = separable(30)
    features = torch.cat([features, torch.full((30, 1), 7.0)], dim=1)
    fit = logistic_regression(features, labels, torch.ones(30), num_classes=4, l2=0.1, field="x")
    assert (fit.weight[:, -1] == 0).all()
    assert set((features @ fit.weight.T + fit.bias).argmax(1).tolist()) <= {0, 1, 2}


def test_the_last_layer_alone_is_trained_and_goes_on_after_a_stop() -> None:
    def start() -> LastLayerTraining:
        sources: dict[str, TrainingImages] = {"a": Noise(12), "b": Noise(5, seed=1)}
        return LastLayerTraining(
            classifier(ONE_HEAD, dropout=0.5),
            sources,
            {"a": 1.0, "b": 1.0},
            l2=0.1,
            batch_size=5,
            precision="float32",
            field="imagenet_methods.mine",
        )

    whole_run, stopped, second = start(), start(), start()
    assert [record["images_seen"] for record in whole_run.records()] == [5, 10, 15, 17]
    assert whole_run.shares.sum() == pytest.approx(1)
    assert whole_run.shares[:12].sum() == pytest.approx(0.5)  # whatever their sizes
    records = stopped.records()
    next(records)
    next(records)
    second.load_state_dict(stopped.state_dict())
    assert len(list(second.records())) == 2
    assert same(whole_run.weights(), second.weights())
    before = classifier(ONE_HEAD).state_dict()
    changed = {name for name, tensor in whole_run.weights().items() if not torch.equal(tensor, before[name])}
    assert changed == {"ends.only.7.weight", "ends.only.7.bias"}
    with torch.no_grad():
        images = Noise(12)
        logits = whole_run.network.eval()(torch.stack([images.pixels(row, 0) for row in range(12)]))["only"]
    assert torch.equal(logits, whole_run.network.ends["only"](torch.cat(whole_run.features)[:12]))


def test_a_fit_that_does_not_converge_names_its_penalty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cgn.classifiers.last_layer._MAX_ITERATIONS", 1)
    features, labels = separable(30)
    with pytest.raises(
        InputError, match=r"imagenet_methods.mine.l2: found 1e-09, with which the fit has not converged"
    ):
        logistic_regression(features, labels, torch.ones(30), num_classes=3, l2=1e-9, field="imagenet_methods.mine")
