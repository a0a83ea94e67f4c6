"""`squall certify`: every scenario against every adapter, and a report that anybody can read.

    command      the words of the command line, and the progress that it shows
    campaign     runs what is not done yet and keeps each cell
    classes      what kind of failure it is: a table from checks to classes
    matrix       what came of it, as a value
    folder       how that value lies on disk: what `--resume` finds
    lanes, svg   a history as a picture of time
    site         the pages: index_page, cell_page, wire_log; badge, junit, index.json

A page is a pure function of a cell and its history. Nothing else in Squall imports this package
but the command line.
"""
