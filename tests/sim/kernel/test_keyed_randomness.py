from sim.randomness import KeyedRandomness


def test_a_stream_is_made_once_and_drawn_on() -> None:
    randomness = KeyedRandomness(1)
    stream = randomness.stream("host", "web", 1)
    assert randomness.stream("host", "web", 1) is stream
    assert randomness.stream("host", "web", 2) is not stream


def test_streams_do_not_disturb_one_another() -> None:
    alone = [KeyedRandomness(1).stream("link").random() for _ in range(1)]
    busy = KeyedRandomness(1)
    busy.stream("other").randbytes(1000)
    assert [busy.stream("link").random()] == alone


def test_seed_and_key_decide() -> None:
    draws = {
        KeyedRandomness(seed).stream(*key).random() for seed in (1, 2) for key in (("a",), ("b",), ("a", "b"), (1,))
    }
    assert len(draws) == 8


def test_a_prefix_is_part_of_the_key() -> None:
    assert KeyedRandomness(1, "a").fresh("b").random() == KeyedRandomness(1).under("a").stream("b").random()
    assert KeyedRandomness(1, "a").fresh("b").random() == KeyedRandomness(1).fresh("a", "b").random()


def test_a_fresh_stream_is_not_kept() -> None:
    randomness = KeyedRandomness(1)
    assert randomness.fresh("a").random() == randomness.fresh("a").random()
