"""scikit-learn: a classifier like any other, in a pipeline and under cross validation."""

from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from noiseproof import noise
from noiseproof.estimator import NoiseTolerantClassifier

images, labels = load_digits(return_X_y=True)
train_x, test_x, clean, test_y = train_test_split(images, labels, random_state=0)
train_y = noise.corrupt(clean, noise.symmetric(10, 0.6), seed=0)

for loss in ("ce", "nce+mae"):
    classifier = NoiseTolerantClassifier(loss, epochs=20, random_state=0)
    pipeline = make_pipeline(StandardScaler(), classifier)
    scores = cross_val_score(pipeline, train_x, train_y, cv=3)  # against the wrong labels: 40 % is perfect
    accuracy = pipeline.fit(train_x, train_y).score(test_x, test_y)
    print(f"{loss:8} {accuracy:.1%} on right labels, {scores.mean():.1%} on wrong ones")
