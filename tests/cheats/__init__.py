"""Cheats, faults and oddities: what a submission does, and what must come of it.

`COURSE` lists the cheats at day 26, whose cells call `check`; `PLAIN` those at a small assignment of ordinary
assert cells. Each is a row of data; `tests.test_cheats` hands all of them in and grades them in one batch.
"""

from tests.cheats import (
    exhausting,
    honest,
    library,
    malformed,
    plain,
    reading,
    tampering,
    writing,
)
from tests.cheats.table import Cheat

COURSE: tuple[Cheat, ...] = (
    *tampering.CHEATS,
    *reading.CHEATS,
    *library.CHEATS,
    *writing.CHEATS,
    *exhausting.CHEATS,
    *malformed.CHEATS,
    *honest.CHEATS,
)
PLAIN: tuple[Cheat, ...] = plain.CHEATS
