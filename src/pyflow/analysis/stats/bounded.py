"""Evidence up to a horizon: sharper than a mixture, where it is known when the last look is.

With a share t of all its data, an estimate that is z standard errors from
zero has come as far as √t z, and under "no increase" that is a Brownian
motion. By the reflection principle it ever exceeds b up to t = 1 with
probability 2 (1 - Φ(b)), however often it is looked at, so

    Λ(z, t) = 1 / (2 (1 - Φ(√t z)))

exceeds 1 / a with probability a at most. Looks far apart exceed it more
seldom. This is the boundary of O'Brien and Fleming (1979), for any number of
looks: strict at first, and near that of a single look at the end.
"""

from __future__ import annotations

import math

from pyflow.analysis.stats import normal
from pyflow.frozen import frozen

__all__ = ["Horizon"]


@frozen
class Horizon:
    """How far the data have come to their end, and how well their variance is known."""

    share: float
    """What there is of all data, above 0 and at most 1."""

    freedom: float
    """The degrees of freedom of the variance, 1 or more."""

    def log_evidence(self, z: float) -> float:
        """Return log Λ of an estimate that is *z* estimated standard errors above zero."""
        return -math.log(2.0) - normal.log_cdf(-math.sqrt(self.share) * self._as_normal(z))

    def critical(self, alpha: float) -> float:
        """Return the z at which the evidence reaches 1 / *alpha*."""
        return self._as_student(normal.quantile(1.0 - alpha / 2.0) / math.sqrt(self.share))

    def _as_normal(self, t: float) -> float:
        """Return a quantile of Student's distribution as one of the normal (Wallace 1959)."""
        squared = self.freedom * math.log1p(t * t / self.freedom)
        return math.copysign(math.sqrt(squared) * self._near(), t)

    def _as_student(self, z: float) -> float:
        return math.sqrt(self.freedom * math.expm1((z / self._near()) ** 2 / self.freedom))

    def _near(self) -> float:
        return (8.0 * self.freedom + 1.0) / (8.0 * self.freedom + 3.0)
