"""trio-mesh: a service mesh whose parts are actors on Trio, the same in simulation and on real sockets."""

__version__ = "0.1.0.dev0"
