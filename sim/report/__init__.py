"""What a run leaves behind: one result object, its text for people, and its files.

`result` is the run judged; `text` its screen; `files` writes what was asked for: `junit`, `event_lines` (with causes), `traces`
(OTLP) and `page` (HTML). `capture` is what a run has to keep besides its evidence, and only for files that need it.
"""
