"""The quality gate of the baseline on real full-simulation events, beside their PandoraPFOs."""

import sys

import numpy as np
import pytest

from mlpf_stream.columns import CLUSTER, DETECTORS, TRACK
from mlpf_stream.config import PhysicsConfig
from mlpf_stream.edm4hep.events import ReadRequest, read_events
from mlpf_stream.event import concatenate_events
from mlpf_stream.physics.baseline import reconstruct
from mlpf_stream.physics.evaluation import compare
from mlpf_stream.physics.missing import total_momentum

ILD = "edm4hep_ILD_mumuH_v01-00_podio_v01-07_10ev.root"


@pytest.fixture(scope="module")
def events(edm4hep_files):
    request = ReadRequest(DETECTORS["ild"], 2.0, "mumuH", "clusters", "0123456789ab")
    return concatenate_events([part for part, _ in read_events(str(edm4hep_files / ILD), request)])


def energy_E(particles):
    energy = particles.column("energy").astype(float)
    return np.bincount(particles.event_P, energy, minlength=particles.events)


@pytest.mark.realdata
def test_energy_of_the_baseline_is_that_of_the_visible_particles(events, capsys):
    found = reconstruct(events, DETECTORS["ild"]).particles
    truth = energy_E(events.generator)
    ratios = {
        "baseline": energy_E(found) / truth,
        "pandora": energy_E(events.candidates) / truth,
    }
    with capsys.disabled():
        for name, ratio in ratios.items():
            line = f"{ratio.mean():.3f} +- {ratio.std(ddof=1):.3f}"
            sys.stdout.write(f"\n{name}: E_reco / E_visible = {line}\n")
    assert len(truth) == 10
    assert 0.98 <= ratios["baseline"].mean() <= 1.12
    assert ratios["baseline"].std(ddof=1) <= 0.07
    # What no particle flow would give: tracks and all clusters counted together.
    tracks, clusters = events.elements["track"], events.elements["cluster"]
    double = tracks.x_RF[:, TRACK.index("p")].sum()
    double += clusters.x_RF[:, CLUSTER.index("energy")].sum()
    assert double > 1.2 * truth.sum()


@pytest.mark.realdata
def test_muons_of_the_z_are_found(events):
    found = reconstruct(events, DETECTORS["ild"]).particles
    muons = {
        name: np.bincount(
            part.event_P[(part.class_P == 5) & (part.column("pt") > 15)], minlength=len(events)
        )
        for name, part in (("found", found), ("generated", events.generator))
    }
    assert (muons["found"] >= 2).sum() >= 9
    assert muons["found"].sum() <= muons["generated"].sum()


@pytest.mark.realdata
def test_jets_of_the_baseline_are_near_those_of_pandora(events):
    found = reconstruct(events, DETECTORS["ild"]).particles
    measures = compare(
        events.generator, {"baseline": found, "pandora": events.candidates}, PhysicsConfig()
    )
    assert measures["pandora"].jet.median == pytest.approx(1.0, abs=0.02)
    assert measures["baseline"].jet.median == pytest.approx(1.0, abs=0.03)
    assert measures["baseline"].jet.iqr < measures["pandora"].jet.iqr + 0.05
    assert measures["baseline"].jet.matched_fraction > 0.9
    scalar = total_momentum(found).scalar / total_momentum(events.generator).scalar
    assert np.median(scalar) == pytest.approx(1.0, abs=0.05)
