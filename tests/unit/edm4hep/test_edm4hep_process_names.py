import pytest

from mlpf_stream.columns import default_role
from mlpf_stream.edm4hep.process_names import published_process


@pytest.mark.parametrize(
    ("path", "process", "role"),
    [
        ("p8_ee_ttbar_ecm380_300000.root", "ttbar", "train"),
        ("data/p8_ee_tt_ecm380/reco_p8_ee_tt_ecm380_1.root", "ttbar", "train"),
        ("p8_ee_qq_ecm380_10.root", "qq", "train"),
        ("p8_ee_tt_ecm380_PU10/reco_p8_ee_tt_ecm380_1.root", "ttbar_PU10", "ood"),
        ("p8_ee_ttbar_PU10_ecm380_1_0.root", "ttbar_PU10", "ood"),
        ("p8_ee_WW_fullhad_ecm380/reco_p8_ee_WW_fullhad_ecm380_7.root", "WW", "ood"),
        ("p8_ee_ZH_Htautau_ecm380_1.root", "ZH", "ood"),
        ("p8_ee_Z_Ztautau_ecm380_1.root", "tautau", "train"),
        ("pi-/reco_pi-_1.root", "gun-pi", "train"),
        ("kaon0L/reco_kaon0L_12.root", "gun-KL", "train"),
        ("e+/reco_e+_2.root", "gun-e", "train"),
        ("my_PU10_study/p8_ee_qq_ecm380_1.root", "qq", "train"),
    ],
)
def test_published_names_tell_the_process(path, process, role):
    assert published_process(path) == process
    assert default_role(process) == role


@pytest.mark.parametrize("path", ["events.root", "p8_ee_.root", "reco_pion_1.root", "gamma.root"])
def test_other_names_tell_nothing(path):
    assert published_process(path) is None
