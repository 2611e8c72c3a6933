"""Fuzz targets: one module ``fuzz_<name>.py`` per decoder, run alone or all together."""
