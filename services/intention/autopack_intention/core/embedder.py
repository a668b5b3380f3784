"""What a model of meaning must offer to stand beside the lexical comparison. None ships.

By default text is compared as terms, weighed by how rare they are in the repository itself
(:mod:`autopack_intention.core.profile`, model ``lexical-1``): no model, no download, and an answer that names the terms
it rests on. This protocol is the other way in: a candidate that has it is measured by ``python -m bench.embedders``
as a second z beside the lexical one, under the rule of ``docs/adr/0013-no-embedder-by-default.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # numpy is no dependency of this service as long as no embedder is one
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Embedder"]


class Embedder(Protocol):
    """Text to vectors, the same on every machine: no network, no clock, no randomness.

    Vectors of another ``id`` or ``version`` are not comparable; whoever keeps vectors keeps both beside them.
    """

    @property
    def id(self) -> str:
        """Name of the model, as lower-case words with hyphens."""

    @property
    def version(self) -> str:
        """Version of the package that the weights came in."""

    @property
    def dim(self) -> int:
        """Length of a vector."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One row of :attr:`dim` numbers per text, in order, not normalised; zeros for a text without a token.

        Safe to call from several threads. It may take milliseconds: never call it on an event loop.
        """
