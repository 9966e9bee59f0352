"""Notebook 01 over eight seeds: gaps, degrees, penalties, cross-validation, leaks, patients, time, streams."""

import numpy as np
import torch
from numpy.polynomial.legendre import leggauss
from scipy.stats import norm
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from course_lib.data import Batches, table
from course_lib.loops import Run, evaluate, regression, train
from course_lib.notebook.results import Claim, record

SIGMA, DEGREES, LAMBDAS = 0.3, range(1, 16), 10.0 ** np.arange(-8, 2.1, 0.5)
SIZES, FITTED_SIZES, REPEATS = 2 ** np.arange(4, 12), 2 ** np.arange(6, 11), 1000
DIABETES = table("diabetes")
PATIENTS, PROGRESSION = DIABETES.x.double().numpy(), DIABETES.y.double().numpy()
LEAKS = ("none", "scaling", "duplicates", "target", "selection")
BOOSTING = (
    {},
    {"max_iter": 60, "learning_rate": 0.05, "max_leaf_nodes": 4},
    {"max_iter": 200, "learning_rate": 0.05, "max_leaf_nodes": 2},
)
NODES, WEIGHTS = leggauss(60)
WEIGHTS = WEIGHTS / 2  # the average over -1 to 1

CLAIMS = (
    Claim("coin-score", "test accuracy on coin flips, columns chosen before the split", above=0.5, limits=(0, 1)),
    Claim("fixed-gap-slope", "exponent of the mean absolute gap of a fixed hypothesis in n"),
    Claim("hoeffding-slack", "1 minus the share of Hoeffding's 95 % bound that the gap's 95 % quantile uses", above=0),
    Claim("fitted-gap-slope", "exponent of the mean gap of fitted least squares in n"),
    Claim("fitted-spread-slope", "exponent of the standard deviation of that gap in n"),
    Claim("underfit-ratio", "true risk of degree 1 over that of the best degree", above=1),
    Claim("overfit-decades", "log10 of the true risk of degree 15 over that of the best", above=0, limits=(0, np.inf)),
    Claim("ridge-decades", "log10 of the risk of degree 15 without penalty over that with one by 5 folds", above=0),
    Claim("reshuffle-ratio", "spread over reshuffles of one split over that of 5 folds, diabetes", above=1),
    Claim("estimate-ratio", "median error against the truth of one split over that of 5 folds", above=1),
    Claim("none-inflation", "R2 reported minus R2 on new patients, gradient boosting, no leak"),
    Claim("scaling-inflation", "the same, ridge, scaled before the split, beyond what it is without a leak"),
    Claim("duplicates-inflation", "the same, gradient boosting, half of the patients entered twice", above=0),
    Claim("target-inflation", "the same, gradient boosting, one column written after the outcome", above=0),
    Claim("selection-inflation", "the same, ridge, 30 of 5,010 columns chosen before the split", above=0),
    Claim("boosting-minus-ridge", "error (RMSE) of gradient boosting minus that of ridge, raw columns", above=0),
    Claim("raw-minus-handmade", "error (RMSE) of ridge on raw columns minus on hand-made ones", above=0),
    Claim("time-log-ratio", "ln of error (RMSE) on the last fifth over on a random fifth, mean of 10 series", above=0),
    Claim("reused-gap", "test loss minus training loss of a network that reuses 512 rows", above=0),
    Claim("stream-gap", "the same for a network that sees every row once"),
)


def target(x):
    """The rule of the known world."""
    return np.sin(np.pi * x)


def world(rng, *shape):
    """Draw rows of the known world."""
    x = rng.uniform(-1, 1, shape)
    return x, target(x) + SIGMA * rng.standard_normal(shape)


def powers(x, degree):
    """1, x, ..., x^degree along a new last axis."""
    return x[..., None] ** np.arange(degree + 1)


def ridge(A, y, penalty):
    """Weights and intercept that minimise mean squared error + penalty * sum of squared weights."""
    middle, level = A.mean(0), y.mean()
    A, y = A - middle, y - level
    w = np.linalg.solve(A.T @ A / len(y) + penalty * np.eye(A.shape[1]), A.T @ y / len(y))
    return w, level - middle @ w


def true_risk(predict):
    """Exact squared risk of a function in the known world."""
    return SIGMA**2 + WEIGHTS @ (predict(NODES) - target(NODES)) ** 2


def exponent(n, values):
    """Slope on doubly logarithmic axes."""
    return float(np.polyfit(np.log(n), np.log(values), 1)[0])


def fixed(rng):
    """Gap of f(x) = x, chosen beforehand, with loss 1 where it is off by more than a half."""
    miss = 1 - (norm.cdf((NODES + 0.5 - target(NODES)) / SIGMA) - norm.cdf((NODES - 0.5 - target(NODES)) / SIGMA))
    means, quantiles = [], []
    for n in SIZES:
        x, y = world(rng, REPEATS, n)
        gap = np.abs((np.abs(x - y) > 0.5).mean(1) - WEIGHTS @ miss)
        means.append(gap.mean())
        quantiles.append(np.quantile(gap, 0.95))
    slack = 1 - float(np.max(quantiles / np.sqrt(np.log(2 / 0.05) / (2 * SIZES))))
    return {"fixed-gap-slope": exponent(SIZES, means), "hoeffding-slack": slack}, {"fixed-gap": means}


def fitted(rng, degree=5):
    """Gap of least squares: its mean and its standard deviation over data sets."""
    means, spreads = [], []
    for n in FITTED_SIZES:
        x, y = world(rng, REPEATS, n)
        A = powers(x, degree)
        theta = np.linalg.solve(A.mT @ A, A.mT @ y[..., None])
        empirical = ((A @ theta - y[..., None]) ** 2).mean((1, 2))
        true = SIGMA**2 + ((powers(NODES, degree) @ theta)[..., 0] - target(NODES)) ** 2 @ WEIGHTS
        means.append((true - empirical).mean())
        spreads.append((true - empirical).std())
    slopes = [exponent(FITTED_SIZES, values) for values in (means, spreads)]
    return dict(zip(("fitted-gap-slope", "fitted-spread-slope"), slopes, strict=True)), {"fitted-gap": means}


def folds(n, k, rng):
    """Pairs of training rows and held-out rows."""
    parts = np.array_split(rng.permutation(n), k)
    return [(np.concatenate(parts[:i] + parts[i + 1 :]), part) for i, part in enumerate(parts)]


def ridge_scores(x, y, splits, penalty):
    """Mean squared error on each held-out part."""
    found = []
    for rest, part in splits:
        middle, scale = x[rest].mean(0), x[rest].std(0)
        w, b = ridge((x[rest] - middle) / scale, y[rest], penalty)
        found.append((((x[part] - middle) / scale @ w + b - y[part]) ** 2).mean())
    return np.array(found)


def by_degree(rng):
    """One training set of 30: true risk by degree; true risk of degree 15 by penalty, and with the one by 5 folds."""
    x, y = world(rng, 30)
    fits = [np.linalg.lstsq(powers(x, degree), y, rcond=None)[0] for degree in DEGREES]
    risk = [true_risk(lambda z, d=d, t=t: powers(z, d) @ t) for d, t in zip(DEGREES, fits, strict=True)]
    A, splits = powers(x, 15)[:, 1:], folds(30, 5, rng)
    scale, path, scores = A.std(0), [], []
    for penalty in LAMBDAS:
        w, b = ridge(A / scale, y, penalty)
        path.append(true_risk(lambda z, w=w, b=b: powers(z, 15)[:, 1:] / scale @ w + b))
        scores.append(ridge_scores(A, y, splits, penalty).mean())
    claims = {
        "underfit-ratio": risk[0] / min(risk),
        "overfit-decades": np.log10(risk[-1] / min(risk)),
        "ridge-decades": np.log10(risk[-1] / path[int(np.argmin(scores))]),
    }
    return claims, {"degree-risk": risk, "penalty-risk": path}


def cross_validation(rng, times=100):
    """Spread of one split and of 5-fold over reshuffles of the patients; error of both against the known truth."""
    shuffled = [np.sqrt(ridge_scores(PATIENTS, PROGRESSION, folds(442, 5, rng), 0.02)) for _ in range(times)]
    shuffled = np.array(shuffled)
    one_split, five_fold = shuffled[:, 0], np.sqrt((shuffled**2).mean(1))
    off = []
    for _ in range(3 * times):
        x, y = world(rng, 60)
        A = powers(x, 5)
        theta = np.linalg.lstsq(A, y, rcond=None)[0]
        truth = true_risk(lambda z, theta=theta: powers(z, 5) @ theta)
        pairs = [(A[part] @ np.linalg.lstsq(A[rest], y[rest])[0], y[part]) for rest, part in folds(60, 5, rng)]
        found = [((predicted - wanted) ** 2).mean() for predicted, wanted in pairs]
        off.append((abs(found[0] - truth), abs(np.mean(found) - truth)))
    one, five = np.median(off, axis=0)
    return {"reshuffle-ratio": one_split.std() / five_fold.std(), "estimate-ratio": one / five}, {}


def handmade(x):
    """Nine columns more, written down before anything was measured."""
    age, sex, bmi, bp, _, _, _, _, s5, s6 = x.T
    sex_two = sex == 2  # 1 and 2; which is which is not documented
    more = (bmi * bp, bmi * s5, bp * s5, sex_two * bp, sex_two * age, bmi**2, age**2, s6**2, np.log(s6))
    return np.column_stack([x, *more])


def reported_and_delivered(leak, model, rng):
    """R2 that a colleague reports from 300 patients, and R2 on 142 patients who come later."""
    order = rng.permutation(len(PROGRESSION))
    (x, x_new), (y, y_new) = ((table[order[:300]], table[order[300:]]) for table in (PATIENTS, PROGRESSION))
    if leak == "duplicates":
        rows = np.concatenate([np.arange(300), rng.choice(300, 150, replace=False)])
        x, y = x[rows], y[rows]
    if leak == "target":
        x = np.column_stack([x, y + 0.7 * y.std() * rng.standard_normal(len(y))])
        x_new = np.column_stack([x_new, np.full(len(y_new), x[:, -1].mean())])
    if leak == "selection":
        x, x_new = (np.column_stack([part, rng.standard_normal((len(part), 5000))]) for part in (x, x_new))
        related = np.abs((x - x.mean(0)).T @ (y - y.mean())) / x.std(0)
        best = np.argsort(-related)[:30]
        x, x_new = x[:, best], x_new[:, best]
    order = rng.permutation(len(y))
    rest, part = order[len(y) * 3 // 10 :], order[: len(y) * 3 // 10]
    seen = order if leak == "scaling" else rest
    middle, scale = x[seen].mean(0), x[seen].std(0)
    x, x_new = (x - middle) / scale, (x_new - middle) / scale
    learner = Ridge(0.02 * len(rest)) if model == "ridge" else HistGradientBoostingRegressor(random_state=0)
    learner.fit(x[rest], y[rest])
    return learner.score(x[part], y[part]), learner.score(x_new, y_new)


def leaks(seed):
    """Each mistake with each model, averaged over ten divisions of the patients."""
    found = {}
    for leak in LEAKS:
        for model in ("ridge", "boosting"):
            pairs = [reported_and_delivered(leak, model, np.random.default_rng([seed, i])) for i in range(10)]
            found[f"{leak}-{model}"] = np.mean(pairs, axis=0).tolist()
    rise = {name: reported - delivered for name, (reported, delivered) in found.items()}
    claims = {f"{leak}-inflation": rise[f"{leak}-boosting"] for leak in ("none", "duplicates", "target")}
    scaling = rise["scaling-ridge"] - rise["none-ridge"]
    return {**claims, "scaling-inflation": scaling, "selection-inflation": rise["selection-ridge"]}, {"leaks": found}


def patient_errors(rng):
    """Cross-validated RMSE, each time of the best of three settings, on raw and on hand-made columns."""
    cuts = KFold(5, shuffle=True, random_state=int(rng.integers(2**31)))
    settings = {
        "boosting": [HistGradientBoostingRegressor(random_state=0, **options) for options in BOOSTING],
        "ridge": [make_pipeline(StandardScaler(), Ridge(alpha)) for alpha in (1, 7, 35)],
    }
    rmse = {}
    for name, models in settings.items():
        for suffix, columns in (("", PATIENTS), ("-handmade", handmade(PATIENTS))):
            errors = [cross_val_predict(model, columns, PROGRESSION, cv=cuts) - PROGRESSION for model in models]
            rmse[name + suffix] = float(min((error**2).mean() for error in errors) ** 0.5)
    gain = rmse["ridge"] - rmse["ridge-handmade"]
    return {"boosting-minus-ridge": rmse["boosting"] - rmse["ridge"], "raw-minus-handmade": gain}, {"patients": rmse}


def sales(rng, days=1095):
    """Three years of daily sales whose level wanders and whose promotions lose their pull."""
    t = np.arange(days)
    promotion = (rng.random(days) < 0.2).astype(float)
    warmth = 10 - 10 * np.cos(2 * np.pi * t / 365) + 3 * rng.standard_normal(days)
    level = 40 + np.cumsum(rng.normal(0.02, 0.5, days))
    week = np.array([0, -1, -1, 0, 2, 5, 3])[t % 7]
    y = level + week + 8 * (1 - 0.75 * t / days) * promotion + 0.3 * warmth + 2 * rng.standard_normal(days)
    return np.column_stack([t, t % 7, promotion, warmth]), y


def by_time(seed, times=10):
    """RMSE on a random fifth, on the last fifth, and there of last week's value, for ten series."""
    found = []
    for i in range(times):
        rng = np.random.default_rng([seed, i])
        x, y = sales(rng)
        days, cut, errors = np.arange(len(y)), len(y) * 4 // 5, []
        for order in (rng.permutation(days), days):
            model = HistGradientBoostingRegressor(random_state=0).fit(x[order[:cut]], y[order[:cut]])
            errors.append(float(((model.predict(x[order[cut:]]) - y[order[cut:]]) ** 2).mean() ** 0.5))
        found.append([*errors, float(((y[cut:] - y[cut - 7 : -7]) ** 2).mean() ** 0.5)])
    ratios = [future / mixed for mixed, future, _ in found]
    return {"time-log-ratio": float(np.log(ratios).mean())}, {"time": found}


def wide_world(n, generator):
    """A known world of eight inputs, five of which do nothing."""
    x = 2 * torch.rand(n, 8, generator=generator) - 1
    y = torch.sin(torch.pi * x[:, :1]) + x[:, 1:2] * x[:, 2:3] + SIGMA * torch.randn(n, 1, generator=generator)
    return x, y


def gap_of_network(seed, reuse, steps=800, batch=32, width=128, rows=512):
    """Test loss minus training loss over the last quarter of the updates."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))
    again = Batches(wide_world(rows, generator), batch_size=batch, seed=seed)
    batches = again if reuse else (wide_world(batch, generator) for _ in range(steps))
    run = Run(model, regression, torch.optim.Adam(model.parameters(), lr=3e-3))
    losses = [step.loss.item() for step in train(run, batches, steps=steps)]
    test = evaluate(model, regression, [wide_world(20_000, torch.Generator().manual_seed(1000 + seed))])["loss"]
    return test - float(np.mean(losses[-steps // 4 :]))


def coin_score(rng, n=150, columns=10_000, kept=40):
    """Test accuracy of logistic regression on labels that are coin flips, its columns chosen before the split."""
    x, y = rng.standard_normal((n, columns)), rng.integers(0, 2, n)
    best = np.argsort(-np.abs(x.T @ (y - y.mean())))[:kept]
    model = LogisticRegression().fit(x[:100, best], y[:100])
    return model.score(x[100:, best], y[100:])


def experiment(seed: int):
    """Everything once."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(seed)
    parts = (fixed(rng), fitted(rng), by_degree(rng), cross_validation(rng), patient_errors(rng), leaks(seed))
    claims, series = {"coin-score": coin_score(rng)}, {}
    for found, drawn in (*parts, by_time(seed)):
        claims |= found
        series |= drawn
    gaps = {f"{name}-gap": gap_of_network(seed, reuse) for name, reuse in (("reused", True), ("stream", False))}
    return {**claims, **gaps, "series": series}


if __name__ == "__main__":
    record(__file__, experiment, CLAIMS)
