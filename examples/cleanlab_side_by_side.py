"""Beside cleanlab, on the same wrong labels: find and drop the wrong ones, train through them, or both."""

from cleanlab.filter import find_label_issues
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_predict, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from noiseproof import noise
from noiseproof.estimator import NoiseTolerantClassifier

images, labels = load_digits(return_X_y=True)
train_x, test_x, clean, test_y = train_test_split(images, labels, random_state=0)
train_y = noise.corrupt(clean, noise.symmetric(10, 0.4), seed=0)

ce, nce_mae = (
    make_pipeline(StandardScaler(), NoiseTolerantClassifier(loss, epochs=20, random_state=0))
    for loss in ("ce", "nce+mae")
)
held_out = cross_val_predict(ce, train_x, train_y, cv=3, method="predict_proba")
suspect = find_label_issues(train_y, held_out, n_jobs=1)
everything, rest = suspect | ~suspect, ~suspect

print("method                 samples  wrong  test accuracy")
for method, classifier, rows in (
    ("ce", ce, everything),
    ("cleanlab, then ce", ce, rest),
    ("nce+mae", nce_mae, everything),
    ("cleanlab, then nce+mae", nce_mae, rest),
):
    accuracy = classifier.fit(train_x[rows], train_y[rows]).score(test_x, test_y)
    wrong = (train_y != clean)[rows].sum()
    print(f"{method:22}  {rows.sum():7}  {wrong:5}  {accuracy:13.1%}")
