"""The write-ahead journal on SQL: append-only events in a hash chain, and projections beside them.

`open.py` opens it, `sql.py` is the `ports.Journal`, `projections.py` says what each entry means, `rows.py`
how a projection is stored, `store.py` reads and writes rows, `verify.py` checks everything, `dialect.py` is
all that is particular to SQLite.
"""

from portfolio.journal.open import open_journal
from portfolio.journal.sql import SqlJournal

__all__ = ["SqlJournal", "open_journal"]
