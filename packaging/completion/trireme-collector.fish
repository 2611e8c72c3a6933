# Completion of fish. The installed program writes it, so that both always fit together.
_TRIREME_COLLECTOR_COMPLETE=fish_source trireme-collector | source
