"""Attenuation of what is found in bags, at the two effective energies of a dual-energy scanner."""

from __future__ import annotations

from functools import cache

import xraydb

LOW_EV = 70_000.0
HIGH_EV = 130_000.0

# name -> (chemical formula, density in g/cm3)
MATERIALS: dict[str, tuple[str, float]] = {
    "fabric": ("C6H10O5", 0.35),
    "water": ("H2O", 1.0),
    "plastic": ("C2H4", 0.95),
    "pet": ("C10H8O4", 1.38),
    "paper": ("C6H10O5", 0.9),
    "wood": ("C6H10O5", 0.7),
    "leather": ("C6H10O5N", 0.9),
    "rubber": ("C5H8S", 1.2),
    "powder": ("C3H6N6O6", 1.7),
    "pyrotechnic": ("KNO3AlS", 1.5),
    "pvc": ("C2H3Cl", 1.4),
    "glass": ("Na2Si6CaO14", 2.5),
    "board": ("SiO2C3H4Cu", 2.2),
    "lithium": ("LiCoO2C4", 2.6),
    "aluminium": ("Al", 2.7),
    "steel": ("Fe", 7.87),
    "copper": ("Cu", 8.96),
    "brass": ("Cu2Zn", 8.5),
    "lead": ("Pb", 11.3),
}


@cache
def attenuation(material: str) -> tuple[float, float]:
    """Linear attenuation of a material at the low and at the high energy, in 1/cm.

    Raises:
        KeyError: the material is not in `MATERIALS`.
    """
    formula, density = MATERIALS[material]
    low, high = (float(xraydb.material_mu(formula, energy, density=density)) for energy in (LOW_EV, HIGH_EV))
    return low, high
