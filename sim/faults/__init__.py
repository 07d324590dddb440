"""What timelines can do to a running mesh: one file a verb, in folders by what it touches."""
