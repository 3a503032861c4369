"""A reference without a model, for tests of what stands on scores alone."""

import torch

from lightning_subliminal.screening import Reference
from lightning_subliminal.screening.catalogue import Catalogue, CatalogueEntry


def gaussian(size=6, rows=5000, answers=4):
    """Return a reference of normal scores with unit covariance."""
    eye = torch.eye(size, dtype=torch.float64)
    found = Catalogue(
        tuple(CatalogueEntry("x", str(i)) for i in range(answers)), eye[:answers], torch.zeros(answers), ()
    )
    return Reference("b", "d", "numbers", (0,), rows, torch.zeros(size, dtype=torch.float64), eye, 100.0, found)
