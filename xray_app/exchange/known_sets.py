"""Class names of public X-ray data sets that are no aliases of the taxonomy: what each is offered to become.

The names of SIXray, OPIXray, PIDray and CLCXray are aliases already. These are not, because a site may see them
otherwise; so a person is asked. Sources: the papers and label files of HiXray (2021), PIXray (2022), DvXray (2024),
STCray (2025) and CargoXray (2022).
"""

from __future__ import annotations

from types import MappingProxyType

from xray_app.taxonomy import Taxonomy, normalise

OFFERED = MappingProxyType(
    {
        # HiXray
        "Water": "plastic bottle",
        "Cosmetic": "ignore",
        # PIXray, DvXray
        "Bat": "baton",
        "Dart": "ignore",
        "Saw_blade": "saw",
        # STCray
        "3D Gun": "gun",
        "3D printed gun": "gun",
        "Flammable": "lighter fuel",
        "Injection": "ignore",
        "Syringe": "ignore",
        "Nail Cutter": "ignore",
        "Other Sharp Item": "blade",
        # CargoXray: what is carried, none of which is a threat
        **dict.fromkeys(
            (
                "auto parts", "spare parts", "bicycles", "clothes", "fabrics", "textile", "textiles", "shoes", "toys",
                "tires", "tableware", "appliances", "household goods", "lamps", "metal", "food", "tools",
            ),
            "ignore",
        ),
    }
)  # fmt: skip
_BY_KEY = {normalise(label): offer for label, offer in OFFERED.items()}


def offered(label: str, taxonomy: Taxonomy) -> str | None:
    """What a label is offered to become: a class of this taxonomy, "ignore", or None where nothing is."""
    offer = _BY_KEY.get(normalise(label)) if len(label) <= 200 else None
    if offer is None or offer == "ignore":
        return offer
    item = taxonomy.find(offer)
    return item.name if item else None
