"""The command line, and every process that it starts.

Python looks for cyclic garbage after each 700 new objects. Imports and the ledger's queries make few cycles and very
many objects: looking once in 50,000 takes a tenth off the start of a command and off the work of ledger and
adapters, and costs no memory worth the name (docs/adr/0016-the-collector-looks-less-often.md).
"""

import gc

gc.set_threshold(50_000, 10, 10)
