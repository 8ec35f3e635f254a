"""Studies: typed data, conducted run by run into records that say where they come from."""

from noiseproof.study.archive import Archive
from noiseproof.study.conduct import Outcome, conduct
from noiseproof.study.configuration import RunConfiguration
from noiseproof.study.defaults import study_for
from noiseproof.study.preparation import choose_device
from noiseproof.study.provenance import Provenance
from noiseproof.study.record import Best, DataFacts, NoiseFacts, Record
from noiseproof.study.study import Study, built_in_studies, load_study
from noiseproof.study.trainer import OnEpoch, Progress

__all__ = [
    "Archive",
    "Best",
    "DataFacts",
    "NoiseFacts",
    "OnEpoch",
    "Outcome",
    "Progress",
    "Provenance",
    "Record",
    "RunConfiguration",
    "Study",
    "built_in_studies",
    "choose_device",
    "conduct",
    "load_study",
    "study_for",
]
