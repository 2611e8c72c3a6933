# What type checkers are told: the core's own names, and those that entry points bring from the
# datapath, at whose home they are written down. A test holds this file to what is there.
from trireme_collector.testing._hypothesis_records import INTEGERS as INTEGERS
from trireme_collector.testing._hypothesis_records import NASTY_TEXT as NASTY_TEXT
from trireme_collector.testing._hypothesis_records import TEXT as TEXT
from trireme_collector.testing._hypothesis_records import records as records
from trireme_collector.testing._hypothesis_records import structs as structs
from trireme_datapath.testing.strategies import PROTOCOLS as PROTOCOLS
from trireme_datapath.testing.strategies import addresses as addresses
from trireme_datapath.testing.strategies import malformed_packets as malformed_packets
from trireme_datapath.testing.strategies import packets as packets
from trireme_datapath.testing.strategies import queued_packets as queued_packets
