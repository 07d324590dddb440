"""What the control plane must not lose: resources, who wrote them, and which proxies are where."""
