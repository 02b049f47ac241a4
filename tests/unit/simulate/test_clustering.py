import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpf_stream.event import offsets_of
from mlpf_stream.simulate.cells import Cells
from mlpf_stream.simulate.clustering import LEAST_ENERGY, LEAST_HITS, cluster
from mlpf_stream.simulate.density import find_peaks
from mlpf_stream.simulate.geometry import COLLECTIONS, ECAL_CELL, cell_at, centre_of


def ecal_hits(centres, seed=1, hits=60):
    """Return one event of compact showers around points of the ECAL barrel."""
    random = np.random.default_rng(seed)
    position, energy, owner = [], [], []
    for number, centre in enumerate(centres):
        offset = np.round(random.normal(size=(hits, 3)) * 1.6) * ECAL_CELL
        offset, first = np.unique(offset, axis=0, return_index=True)
        position.append(np.asarray(centre, float) + offset)
        energy.append(0.05 * np.exp(-np.linalg.norm(offset, axis=1) / 10) + 0.004)
        owner.append(np.full(len(first), number))
    position, energy, owner = map(np.concatenate, (position, energy, owner))
    count = len(energy)
    cell = np.array([cell_at(*point) for point in position])
    position = np.array([centre_of(name) for name in cell])
    return Cells(
        cell_H=cell,
        collection_H=np.full(count, COLLECTIONS.index("ECALBarrel"), np.int8),
        layer_H=np.zeros(count, np.int8),
        energy_H=energy,
        position_H3=position,
        time_H=np.zeros(count),
        offsets=offsets_of(np.array([count])),
        hit_K=np.arange(count),
        particle_K=owner,
        energy_K=energy,
    )


def test_showers_far_apart_stay_apart_and_near_ones_merge():
    apart = cluster(ecal_hits([(1600, 0, 0), (1600, 0, 200), (1600, 300, 0)]))
    assert len(apart.hits_C) == 3
    assert np.bincount(apart.cluster_K).tolist() == [1, 1, 1]
    near = cluster(ecal_hits([(1600, 0, 0), (1600, 0, 20)]))
    assert len(near.hits_C) == 1
    assert set(near.particle_K.tolist()) == {0, 1}


def test_what_lies_behind_on_the_same_axis_joins():
    found = cluster(ecal_hits([(1520, 0, 0), (1690, 0, 0)]))
    assert len(found.hits_C) == 1


@given(st.integers(0, 2**31), st.integers(1, 6))
@settings(max_examples=30, deadline=None)
def test_clusters_are_sums_of_hits(seed, showers):
    random = np.random.default_rng(seed)
    centres = np.column_stack(
        [random.uniform(1520, 1680, showers), *random.uniform(-300, 300, (2, showers))]
    )
    cells = ecal_hits(centres, seed)
    found = cluster(cells)
    inside = found.cluster_H >= 0
    count = len(found.hits_C)
    members = np.bincount(found.cluster_H[inside], minlength=count)
    energy = np.bincount(found.cluster_H[inside], cells.energy_H[inside], minlength=count)
    assert members.tolist() == found.hits_C.tolist()
    np.testing.assert_allclose(found.energy_C, energy)
    assert (found.hits_C >= LEAST_HITS).all()
    assert (found.energy_C >= LEAST_ENERGY).all()
    assert (np.diff(found.energy_C) <= 1e-12).all()
    given = np.bincount(found.cluster_K, found.energy_K, minlength=count)
    np.testing.assert_allclose(given, energy)
    assert (np.diff(found.cluster_K) >= 0).all()


@given(st.integers(0, 2**31))
@settings(max_examples=20, deadline=None)
def test_clusters_do_not_depend_on_the_order_of_hits(seed):
    cells = ecal_hits([(1600, 0, 0), (1600, 60, 120), (1620, -80, 30)], seed)
    order = np.random.default_rng(seed).permutation(len(cells.energy_H))
    turned = Cells(
        cells.cell_H[order],
        cells.collection_H,
        cells.layer_H,
        cells.energy_H[order],
        cells.position_H3[order],
        cells.time_H,
        cells.offsets,
        cells.hit_K,
        cells.particle_K[order],
        cells.energy_K[order],
    )
    np.testing.assert_allclose(
        np.sort(cluster(cells).energy_C), np.sort(cluster(turned).energy_C), rtol=1e-9
    )


def test_a_peak_is_founded_by_one_of_its_own_hits():
    cells = ecal_hits([(1600, 0, 0), (1600, 0, 300)])
    peak_H, founders = find_peaks(cells)
    assert peak_H[founders].tolist() == list(range(len(founders)))


def test_an_event_without_hits_has_no_clusters():
    cells = ecal_hits([(1600, 0, 0)])
    empty = Cells(
        cells.cell_H[:0],
        cells.collection_H[:0],
        cells.layer_H[:0],
        cells.energy_H[:0],
        cells.position_H3[:0],
        cells.time_H[:0],
        offsets_of(np.array([0, 0])),
        cells.hit_K[:0],
        cells.particle_K[:0],
        cells.energy_K[:0],
    )
    assert cluster(empty).offsets.tolist() == [0, 0, 0]
