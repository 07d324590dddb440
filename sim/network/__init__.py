"""The simulated network: TCP as programs see it, one link model and one rule chain for everything that moves.

`fabric` joins the hosts; `links` and `latency` say how far apart they are; `rules` is the chain of faults, which are in
`cuts`, `delays`, `breaks` and `fragments`; `socket`, `transmission` and `handshake` are TCP; `connection` is its face for
pumps, `streams` its face for Trio tasks. `names` and `dns`, over `datagrams`, are how hosts come by addresses. Not modelled:
packets smaller than a write, congestion control, IPv6.
"""
