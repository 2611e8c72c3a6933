"""The datapath: packets in, policy decided, records out."""
