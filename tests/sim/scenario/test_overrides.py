"""`--set path=value`."""

import pytest


@pytest.mark.parametrize(
    ("setting", "look"),
    [
        ("duration=90s", lambda s: s.duration_s == 90),
        ("services.web.concurrency=3", lambda s: s.service("web").concurrency == 3),
        ("seed=7", lambda s: s.seed == 7),
        ("services.db.work=5ms", lambda s: s.service("db").work.seconds == 0.005),
        ("workload.users.rate[0].to=70/s", lambda s: s.workloads[0].model.stages[0].to == 70),
        ("workload.users.rate.peak=99/s", lambda s: s.workloads[0].model.stages[2].to == 99),
        ("users.peak=99/s", lambda s: s.workloads[0].model.stages[2].to == 99),
        (
            "services.web.endpoints[GET /].steps[0].work=7ms",
            lambda s: s.service("web").endpoints[0].steps[0].time.seconds == 0.007,
        ),
    ],
)
def test_setting_changes_what_the_file_says(loader, setting, look):
    assert look(loader.read(settings=[setting]))


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("services.webb.queue=1", "--set services.webb.queue: there is no 'webb' (did you mean 'web'?)"),
        ("users.pek=1/s", "there is no 'pek'"),
        ("services.web.concurency=1", "there is no 'concurency' (did you mean 'concurrency'?)"),
        ("services.new.queue=1", "there is no 'new'"),
        ("duration", "write --set path=value"),
        ("services..web=1", "is not a path"),
        ("duration=ten", "'ten' is not a duration"),
        ("duration=1:30", "base 60 number"),
    ],
)
def test_wrong_setting_is_refused(loader, setting, complaint):
    assert any(complaint in text for text in loader.complaints(settings=[setting]))
