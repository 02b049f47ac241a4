"""Which event is displayed, what its page says, and what lies in its scenes."""

import base64
import json
import re

import numpy as np
import pytest
import torch
from dataset import kind_entry, write_dataset
from spoiled import shoot
from synthetic import make_events

from mlpf_stream.cli import main
from mlpf_stream.columns import CLASSES, DETECTORS, MODE_KINDS, NO_PARTICLE
from mlpf_stream.config import Recipe
from mlpf_stream.display import DisplayRequest, display
from mlpf_stream.display.choice import Choice, EventRequest, choose_event
from mlpf_stream.display.colours import CLASS_COLOURS, NOBODY_NUMBER
from mlpf_stream.display.scene import OUTLINE, flights, measured
from mlpf_stream.errors import ConfigError, MissingDataError
from mlpf_stream.models.artifact import card_of, encode_model
from mlpf_stream.shards.reader import read_events
from mlpf_stream.storage import open_store
from mlpf_stream.train.rank import fresh_network


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """A small dataset of two processes."""
    counts = {"ttbar": (40, "train"), "WW": (10, "ood")}
    return write_dataset(str(tmp_path_factory.mktemp("set") / "data"), counts, pack_events=4)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A simulated ROOT file."""
    return shoot(tmp_path_factory.mktemp("shot"), "gun-pi", events=6, multiplicity=5)


def page_data(path):
    """Return the figures of a page."""
    text = path.read_text()
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    return text, json.loads(found.group(1))


def numbers(array):
    """Decode an array of a figure."""
    if isinstance(array, dict):
        return np.frombuffer(base64.b64decode(array["bdata"]), array["dtype"])
    return np.array(array)


def test_without_a_wish_it_is_the_first_event_of_split_test(index):
    choice = choose_event(EventRequest(index.store.url))
    first = int(np.flatnonzero(index.in_split("test"))[0])
    assert (choice.number, choice.split, choice.key) == (first, "test", index.keys[first])


def test_an_event_is_found_by_number_and_by_key(index):
    events = read_events(index)
    for number in (0, 17, len(index) - 1):
        by_number = choose_event(EventRequest(index.store.url, str(number)))
        by_key = choose_event(EventRequest(index.store.url, index.keys[number]))
        assert by_number.key == by_key.key == events.keys[number]
        for name, part in by_key.events.elements.items():
            expected = events.select(np.array([number])).elements[name]
            np.testing.assert_array_equal(part.x_RF, expected.x_RF)


def test_an_event_in_object_storage_is_displayed(s3_url, tmp_path):
    index = write_dataset(s3_url, {"ttbar": (6, "train")})
    shown = display(DisplayRequest(EventRequest(s3_url, index.keys[2]), str(tmp_path / "e.html")))
    assert shown.key == index.keys[2]
    assert index.keys[2] in (tmp_path / "e.html").read_text()


def test_an_unknown_event_names_those_nearby(index):
    wish = index.keys[5] + "x"
    with pytest.raises(ConfigError, match="keys are PROCESS-FILEID-ENTRY") as caught:
        choose_event(EventRequest(index.store.url, wish))
    assert index.keys[5] in str(caught.value)
    with pytest.raises(ConfigError, match=r"expected --event from 0 to 49.*found 50"):
        choose_event(EventRequest(index.store.url, "50"))


def test_an_event_of_a_file_is_found_too(file):
    first = choose_event(EventRequest(file))
    third = choose_event(EventRequest(file, "2"))
    assert (first.number, third.number, first.split) == (0, 2, "")
    assert choose_event(EventRequest(file, third.key)).events.keys == third.events.keys
    assert third.process == "gun-pi"
    assert third.simulation.startswith("fast")
    assert len(third.events.candidates.class_P)
    with pytest.raises(ConfigError, match=f"the nearest here: .*{third.key}"):
        choose_event(EventRequest(file, third.key + "0"))
    with pytest.raises(ConfigError, match="--detector of clic, cld, ild"):
        choose_event(EventRequest(file, detector="x"))


@pytest.mark.parametrize("url", ["none", "memory://none-to-display"])
def test_nothing_there(url, tmp_path):
    with pytest.raises(MissingDataError, match="found none"):
        choose_event(EventRequest(url if "://" in url else str(tmp_path / url)))
    with pytest.raises(ConfigError, match="ROOT file on a local disk"):
        choose_event(EventRequest("s3://bucket/file.root"))


def test_the_page_holds_everything_of_the_event(file, tmp_path):
    out = tmp_path / "new" / "event.html"
    shown = display(DisplayRequest(EventRequest(file, "1"), str(out)))
    choice = choose_event(EventRequest(file, "1"))
    text, data = page_data(out)
    assert shown.file == str(out)
    assert f"<title>Event {choice.key}</title>" in text
    assert "The data are fast simulation" in text
    drawn = data["figures"]["measured"]["data"]
    clusters = sum(len(numbers(t["x"])) for t in drawn if t["meta"]["source"] == "clusters")
    assert clusters == len(choice.events.elements["cluster"].x_RF)
    gaps = sum(
        int(np.isnan(numbers(t["x"])).sum()) for t in drawn if t["meta"]["source"] == "tracks"
    )
    assert gaps == len(choice.events.elements["track"].x_RF)
    sources = {t["meta"]["source"] for t in data["figures"]["particles"]["data"]}
    assert sources == {OUTLINE, "targets", "generator", "baseline"}
    assert data["colours"] == CLASS_COLOURS
    assert "http" not in re.sub(r"<script>.*?</script>", "", text, flags=re.S)


def test_same_event_same_bytes(file, tmp_path):
    pages = [tmp_path / "1.html", tmp_path / "2.html"]
    for page in pages:
        display(DisplayRequest(EventRequest(file, "1"), str(page)))
    assert pages[0].read_bytes() == pages[1].read_bytes()


def test_elements_have_the_class_and_colour_of_their_particle(file):
    choice = choose_event(EventRequest(file, "1"))
    for name, source in (("track", "tracks"), ("cluster", "clusters")):
        rows = choice.events.elements[name]
        parts = [part for part in measured(choice) if part.source == source]
        owned = rows.particle_R != NO_PARTICLE
        species = choice.events.generator.class_P[rows.particle_R[owned]]
        expected = {CLASSES[k] for k in species} | ({"none"} if not owned.all() else set())
        assert {part.species for part in parts} == expected
        for part in parts:
            if part.species == "none":
                assert set(part.colour_N.tolist()) == {NOBODY_NUMBER}
            else:
                assert NOBODY_NUMBER not in part.colour_N
            assert sum(count for _, count in part.words) == len(part.points_N3)
            assert len(part.colour_N) == len(part.points_N3)


def test_tracks_end_at_the_calorimeter_and_flights_start_at_the_collision(file):
    choice = choose_event(EventRequest(file, "1"))
    detector = DETECTORS["clic"]
    (tracks,) = (part for part in measured(choice) if part.source == "tracks")
    gaps = np.flatnonzero(np.isnan(tracks.points_N3[:, 0]))
    x, y, z = tracks.points_N3[gaps - 1].T
    depth = np.maximum(np.hypot(x, y) / detector.barrel_radius, np.abs(z) / detector.endcap_z)
    np.testing.assert_allclose(depth, 1, atol=1e-3)
    for path in flights(choice.events.generator, choice, 100.0):
        assert not path[0].any()
        assert np.linalg.norm(path[-1]) > 100


@pytest.mark.parametrize("mode", ["clusters", "hits"])
def test_strange_events_are_drawn(mode):
    for tracks, others in ((0, 3), (4, 0), (30, 200)):
        events = make_events(tracks, [tracks], [others], mode=mode)
        choice = Choice(events, "x", 0, "", DETECTORS["clic"], 4.0, mode, {})
        parts = [part for part in measured(choice) if part.source != OUTLINE]
        lines = sum(np.isnan(part.points_N3[:, 0]).sum() for part in parts)
        points = sum(len(part.points_N3) for part in parts if part.size_N is not None)
        assert (lines, points) == (tracks, others)


@pytest.fixture
def model(index, tmp_path):
    """An untrained model for the elements of that dataset."""
    return write_model(index.manifest, tmp_path / "model")


def write_model(manifest, folder):
    torch.manual_seed(1)
    model = {"kind": "mlp", "width": 16, "layers": 1}
    recipe = Recipe.model_validate({"data": {"url": "x"}, "model": model})
    network = fresh_network(recipe, manifest)
    store = open_store(str(folder))
    for name, data in encode_model(network, card_of(network, {})).items():
        store.write(name, data)
    return store.url


def test_candidates_of_a_model_stand_beside(index, model, tmp_path):
    out = tmp_path / "event.html"
    display(DisplayRequest(EventRequest(index.store.url, "3"), str(out), model))
    text, data = page_data(out)
    sources = {t["meta"]["source"] for t in data["figures"]["particles"]["data"]}
    assert "model" in sources
    assert 'data-source="model"' in text


def test_a_model_for_other_elements_is_refused(index, tmp_path):
    events = [make_events(1, [3, 4], [5, 6], mode="hits")]
    kinds = tuple(kind_entry(kind, events) for kind in MODE_KINDS["hits"])
    manifest = index.manifest.model_copy(update={"kinds": kinds, "mode": "hits"})
    url = write_model(manifest, tmp_path / "model")
    with pytest.raises(
        ConfigError, match=r"expected a model for track, cluster .*found one for hit"
    ):
        display(DisplayRequest(EventRequest(index.store.url, "3"), str(tmp_path / "x"), url))


def test_the_command_says_where_and_which(index, tmp_path, capsys):
    out = tmp_path / "event.html"
    for options in (["--json"], []):
        with pytest.raises(SystemExit) as left:
            main(
                ["display", index.store.url, "--event", index.keys[2], "--out", str(out), *options]
            )
        assert left.value.code == 0
        said = capsys.readouterr().out
        if options:
            assert json.loads(said)["file"] == str(out)
        assert index.keys[2] in said
    with pytest.raises(SystemExit) as left:
        main(["display", index.store.url, "--event", "none", "--out", str(out)])
    assert left.value.code == 2
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="change --out"):
        display(DisplayRequest(EventRequest(index.store.url), str(tmp_path / "file" / "x.html")))
