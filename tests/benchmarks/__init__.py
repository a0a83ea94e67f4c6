"""How fast the proxy is, next to its peers; run by `make bench`, never by pytest."""
