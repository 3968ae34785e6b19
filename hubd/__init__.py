"""MessageHub's daemon: one process that owns one database and sends campaigns.

The map, from the top; arrows only go down:

    daemon      opens everything in order, closes it in reverse
    control     the socket: gate, session, methods
    engine      who sends: supervisor; one campaign: campaign_run; one provider: pool; live figures: progress
    core        what is decided, without any I/O: lifecycle (read it first), verdict, pacing, compose ...
    store       the only SQL: contacts, campaigns, the attempt ledger, events
    providers   the kinds of providers, a folder each: outbox, sendgrid, ses, smtp, sns, twilio
    transports  what they connect with: TCP, TLS, HTTP, access tokens
    bridge      the one place where asyncio libraries are called
    wire, client, errors   what other programs may import

Importing this package imports nothing else, so that `import hubd.client` is cheap.
"""

__version__ = "0.2.0"
