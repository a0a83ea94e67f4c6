"""Storms: a fleet of adapters on Locust, what is done to it, and what it lived through.

    storm, storm_file    what is to happen, as a value and as a file
    timeline, line       what is due next, and how it is put in force
    tally, histogram     what the users lived through, in numbers that add up across workers
    thresholds, witness  which numbers are good enough, and what the exchange says of them
    preflight, stage     what must be true before, and the processes; `command` is `squall load`
    results, report      what it came to, and the page that shows it

Locust patches the whole process that imports it. Only its own side does (locustfile, users and
what they are made of), and nothing else of Squall imports that side.
"""
