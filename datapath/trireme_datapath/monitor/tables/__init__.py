"""The numbers of Cilium's datapath and what they mean, one table per kind of number."""
