import numpy as np

from mlpf_stream.simulate.cells import GATE, THRESHOLD
from mlpf_stream.simulate.geometry import COLLECTIONS, ECAL, HCAL, SUBDETECTOR, YOKE


def by_subdetector(cells):
    return SUBDETECTOR[cells.collection_H]


def test_every_hit_is_above_threshold_and_in_time(pions):
    cells = pions.cells
    assert (cells.energy_H > THRESHOLD[by_subdetector(cells)]).all()
    assert cells.time_H.max() < GATE + 5


def test_no_cell_is_read_out_twice(pions):
    cells = pions.cells
    event = np.repeat(np.arange(20), np.diff(cells.offsets))
    rows = np.column_stack([event, cells.position_H3])
    assert len(np.unique(rows, axis=0)) == len(rows)


def test_hits_are_ordered_by_collection_inside_their_event(pions):
    cells = pions.cells
    for first, last in zip(cells.offsets[:-1], cells.offsets[1:], strict=True):
        assert (np.diff(cells.collection_H[first:last]) >= 0).all()


def test_hits_are_the_sum_of_their_contributions_but_for_noise(pions):
    cells = pions.cells
    given = np.bincount(cells.hit_K, cells.energy_K, minlength=len(cells.energy_H))
    noise = cells.energy_H - given
    assert (noise > -1e-9).all()
    noisy = noise > 1e-9
    assert 0 < noisy.mean() < 0.01
    assert set(cells.collection_H[noisy].tolist()) == {COLLECTIONS.index("HCALBarrel")}
    event = np.repeat(np.arange(20), np.diff(cells.offsets))
    owner = pions.record.event_P[cells.particle_K]
    assert (owner == event[cells.hit_K]).all()


def test_a_particle_contributes_to_a_hit_once(pions):
    cells = pions.cells
    pairs = np.column_stack([cells.hit_K, cells.particle_K])
    assert len(np.unique(pairs, axis=0)) == len(pairs)


def test_muons_leave_one_hit_per_layer_up_to_the_yoke(fire):
    simulated = fire("gun-mu", 200, 1)
    cells = simulated.cells
    own = np.isin(np.arange(len(cells.energy_H)), cells.hit_K)
    hits = np.bincount(by_subdetector(cells)[own], minlength=3) / 200
    assert 30 < hits[ECAL] < 45
    assert 45 < hits[HCAL] < 65
    assert 3 < hits[YOKE] < 8
