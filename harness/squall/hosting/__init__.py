"""`squall exchange`: the mock exchange on its own, in one process or several, with a control port.

    command      what the words of the command line do
    fleet        the processes: one port for all of them (SO_REUSEPORT), faults that all get at once
    member       one process: its server, and the faults that it was ordered to have
    control      the control port's routes          metrics    what Prometheus reads

Where there are several processes a parent starts them, orders faults, adds up what they report and
ends them all when one of them dies. Only the parent has a control port.
"""
