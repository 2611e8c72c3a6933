"""The records that flow from the datapath to the collectors."""
