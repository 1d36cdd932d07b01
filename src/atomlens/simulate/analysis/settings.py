"""How a run is analysed."""

from __future__ import annotations

from pydantic import Field

from atomlens.config import Config


class RunSettings(Config):
    """What the analyses of a run, and of one beside it, have in common."""

    name: str = Field("this run", description="of the run, in legends and sentences")
    beside: str = Field("other run", description="name of the run that it is compared with")
    temperature: float | None = Field(None, gt=0, description="K, that the thermostat was set to; none: the run's own")
    skip: float = Field(0.0, ge=0, description="fs at the beginning that are left out as equilibration")
    bins: int = Field(120, ge=10, le=2000, description="of a distribution at most; short runs get fewer")
    reach: float = Field(8.0, gt=0, description="Å, how far g(r) of a periodic structure goes")
    resolution: float = Field(10.0, gt=0, description="cm⁻¹, full width at half height of a line of a spectrum")
    highest: float | None = Field(None, gt=0, description="cm⁻¹, where drawings of spectra end; none: where they do")
    degrees_of_freedom: int | None = Field(
        None, ge=1, description="of one copy; none: found from which motions of the whole are at rest"
    )
