import numpy as np
import pytest

from mlpf_stream.simulate.geometry import (
    CELL,
    COLLECTIONS,
    NOWHERE,
    PITCH,
    SUBDETECTOR,
    cell_at,
    centre_of,
    collection_of,
    layer_of,
)


def name_at(*point):
    cell = cell_at(*map(float, point))
    return None if cell == NOWHERE else COLLECTIONS[collection_of(cell)]


@pytest.mark.parametrize(
    ("point", "name"),
    [
        ((1501, 0, 0), "ECALBarrel"),
        ((1701, 0, 2209), "ECALBarrel"),
        ((1499, 0, 0), None),
        ((1720, 0, 0), None),
        ((0, 1741, 100), "HCALBarrel"),
        ((0, -3329, 100), "HCALBarrel"),
        ((0, 4500, -3000), "MUON"),
        ((500, 0, 2308), "ECALEndcap"),
        ((0, 300, -2400), "ECALOther"),
        ((0, 395, -2400), None),
        ((300, 0, 2540), "HCALEndcap"),
        ((0, 2000, 2400), "HCALOther"),
        ((0, 1000, -4200), "MUON"),
        ((0, 100, 2400), None),
        ((9000, 0, 0), None),
    ],
)
def test_points_fall_into_the_collections_of_the_compact_file(point, name):
    assert name_at(*point) == name


def test_faces_are_flat():
    # In the middle between two staves, the face is farther from the beam.
    turn = np.pi / 12
    inside, outside = 1501.0, 1501.0 / np.cos(turn)
    assert name_at(inside * np.cos(turn), inside * np.sin(turn), 0) is None
    assert name_at(outside * np.cos(turn), outside * np.sin(turn), 0) == "ECALBarrel"


def test_a_cell_lies_around_its_points():
    random = np.random.default_rng(1)
    seen = set()
    for point in random.uniform(-6500, 6500, (20_000, 3)):
        cell = cell_at(*point)
        if cell == NOWHERE:
            continue
        collection = collection_of(cell)
        seen.add(collection)
        subdetector = SUBDETECTOR[collection]
        away = np.linalg.norm(np.array(centre_of(cell)) - point)
        diagonal = np.hypot(np.sqrt(2) * CELL[subdetector], PITCH[subdetector])
        assert away <= diagonal / 2 + 1e-9
    assert seen >= {COLLECTIONS.index(name) for name in ("HCALBarrel", "HCALEndcap", "MUON")}


def test_layers_count_from_the_inner_face():
    assert [layer_of(cell_at(1500.0 + 5.05 * n + 1, 0.0, 0.0)) for n in (0, 1, 39)] == [0, 1, 39]
    assert layer_of(cell_at(0.0, 1000.0, 4128.0)) == 59
