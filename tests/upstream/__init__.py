"""Toxiproxy's own tests and its Python client's, run against `squall proxy`."""
