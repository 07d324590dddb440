"""What runs on the mesh: services with queues, databases, and users that call them.

Actors against `Environment`: the same code in simulation and as processes on real sockets.
"""
