"""What a run tells of each epoch: its loss, its test accuracy, and what it has memorized."""

from __future__ import annotations

from noiseproof.schema import Schema

Values = tuple[float | None, ...]


class History(Schema):
    """One value for each epoch; accuracies are fractions in [0, 1]; None where undefined or not finite.

    The training numbers are counted as each sample is visited, once an epoch, on the augmented image and
    before the batch's step. ``right``: of the samples whose given label is right, those predicted so.
    ``recovered`` and ``memorized``: of the samples whose given label is wrong, those predicted as their clean
    label, and as their wrong one; all three None if the clean labels are not known. ``clean`` and ``given``:
    of all training samples, those predicted as their clean, and as their given label. ``test``: accuracy on
    the test set.
    """

    train_loss: Values = ()
    clean: Values = ()
    given: Values = ()
    right: Values = ()
    recovered: Values = ()
    memorized: Values = ()
    test: Values = ()

    def __len__(self) -> int:
        """Epochs told of."""
        return len(self.test)

    def extended(self, **epoch: float | None) -> History:
        """Append one epoch, a value for each field."""
        return History(**{name: (*getattr(self, name), epoch[name]) for name in type(self).model_fields})
