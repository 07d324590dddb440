"""The names of the structlog events of this package, so that each stands in one place."""

EVENT_NAMES = (
    "pump.failed",
    "pump.crashed",
    "pump.parked_while_cancelled",
    "callback.crashed",
    "call.failed",
    "listener.paused",
    "actor.crashed",
    "actor.restarted",
    "actor.gave_up",
    "drain.began",
    "drain.cut_short",
    "database.transaction_repeated",
    "database.not_reached",
    "database.not_durable",
    "database.listening_lost",
    "http_server.not_accepting",
    "http_connection.crashed",
)
