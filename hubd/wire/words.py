"""Words of the daemon's tables that programs go by: states, and what may be accepted knowingly.

They are written down again because a client imports nothing of the daemon; a test compares them.
"""

CAMPAIGN_STATES = ("draft", "scheduled", "running", "paused", "stopped", "completed", "failed")
#: The campaign goes on only if somebody starts it.
FINISHED = frozenset({"stopped", "completed", "failed"})

#: In the order in which people are told of them.
DELIVERY_STATES = (
    "sent",
    "delivered",
    "undelivered",
    "failed",
    "in_doubt",
    "deferred",
    "sending",
    "pending",
    "skipped",
)
#: The message is not finished.
UNFINISHED = frozenset({"pending", "deferred", "sending"})
#: What somebody who sends a message waits for.
SENT = frozenset({"sent", "delivered"})

#: What `accept_risk` may name.
RISKS = ("no-unsubscribe", "missing-fields", "bad-messages", "restored")
