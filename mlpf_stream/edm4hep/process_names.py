"""Which physics process a published file holds, by its name and that of its folder.

Source: production scripts of the published CLIC samples (HEP-KBFI/key4hep-sim) and the names in
their archives (Zenodo 8260741).
"""

import re
from pathlib import Path
from typing import Final

from mlpf_stream.columns import PILEUP

_PROCESS: Final = re.compile(r"p8_ee_(\w+?)_ecm\d+")
_OVERLAY: Final = re.compile(r"_PU(\d+)")
_GUN: Final = re.compile(r"(?:reco_)?(neutron|kaon0L|pi[-+0]|mu[-+]|e[-+]|gamma)_\d+")

_SAME: Final = {
    "tt": "ttbar",
    "qq": "qq",
    "WW_fullhad": "WW",
    "ZZ_fullhad": "ZZ",
    "ZH_Htautau": "ZH",
    "Z_Ztautau": "tautau",
}
"""Published names of processes that are called otherwise here; others keep their name."""
_GUNS: Final = {
    "neutron": "gun-n",
    "kaon0L": "gun-KL",
    "pi-": "gun-pi",
    "pi+": "gun-pi",
    "pi0": "gun-pi0",
    "mu-": "gun-mu",
    "mu+": "gun-mu",
    "e-": "gun-e",
    "e+": "gun-e",
    "gamma": "gun-gamma",
}


def published_process(path: str) -> str | None:
    """Return the process of a file with a published name, such as `p8_ee_tt_ecm380_1.root`.

    Pile-up makes a process of its own, told by the file or its folder: `ttbar_PU10`. None where
    the name tells nothing.
    """
    place = Path(path)
    folder = place.parent.name
    match = _PROCESS.search(place.name) or _PROCESS.search(folder)
    if match:
        name = _SAME.get(match.group(1), match.group(1))
        # A folder speaks for its files only where it has a published name itself.
        beside = folder if _PROCESS.search(folder) else ""
        laid = _OVERLAY.search(place.name) or _OVERLAY.search(beside)
        return f"{name}{PILEUP}{laid.group(1)}" if laid and PILEUP not in name else name
    gun = _GUN.fullmatch(place.stem)
    return _GUNS[gun.group(1)] if gun else None
