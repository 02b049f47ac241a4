"""The published event sets: where each lies and who says so.

No checksum stands here: those come at run time from the archive that keeps the files. What could
not be confirmed from a published source is not in the list.
"""

from dataclasses import dataclass
from typing import Final, Literal

from mlpf_stream.errors import ConfigError

RECORD_8260741: Final = (
    "Simulated datasets for detector and particle flow reconstruction: CLIC detector (1.1)"
)


@dataclass(frozen=True, slots=True)
class PublishedSet:
    """One set of EDM4HEP files.

    Attributes:
        host: which archive keeps it, and so how it is asked.
        record: number of the Zenodo record, or owner/name of the Hugging Face repository.
        folder: folder inside the repository.
        pattern: names of the files that belong to the set.
        process: physics process of the events, where the set holds one.
        doi: of the record, where it has one.
        confirmed: published source of the facts in this entry.
    """

    name: str
    title: str
    detector: str
    host: Literal["zenodo", "huggingface"]
    record: str
    confirmed: str
    folder: str = ""
    pattern: str = "*"
    process: str | None = None
    doi: str | None = None


PUBLISHED: Final = (
    PublishedSet(
        name="p8_ee_ttbar_ecm380",
        title="CLIC, 380 GeV, ttbar, full simulation, newer naming (PandoraPFOs), ROOT files",
        detector="clic",
        host="huggingface",
        record="jpata/particleflow",
        folder="root/clic/ttbar",
        pattern="reco_p8_ee_ttbar_ecm380_*.root",
        process="ttbar",
        confirmed="jpata/particleflow, scripts/fetch_test_data_clic.sh and its postprocessing",
    ),
    PublishedSet(
        name="p8_ee_tt_ecm380",
        title="CLIC, 380 GeV, ttbar, full simulation of 2023, some ROOT files in one archive",
        detector="clic",
        host="zenodo",
        record="8260741",
        pattern="p8_ee_tt_ecm380_10files.tar",
        process="ttbar",
        doi="10.5281/zenodo.8260741",
        confirmed="a public script fetches zenodo.org/records/8260741/files/"
        "p8_ee_tt_ecm380_10files.tar and finds reco_p8_ee_tt_ecm380_1302.root in it",
    ),
    PublishedSet(
        name="zenodo-8260741",
        title=f"{RECORD_8260741}: every file of the record, see --list",
        detector="clic",
        host="zenodo",
        record="8260741",
        doi="10.5281/zenodo.8260741",
        confirmed="jpata/particleflow, README of v2.4.0 and citation in its dataset builders",
    ),
)


def published(name: str) -> PublishedSet:
    """Return the set called `name`.

    Raises:
        ConfigError: no set of that name.
    """
    for each in PUBLISHED:
        if each.name == name:
            return each
    names = ", ".join(each.name for each in PUBLISHED)
    raise ConfigError(f"expected a published set ({names}), found {name!r}; see 'mlpf download'")
