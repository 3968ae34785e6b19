"""hubd as it is, but for the minutes between two questions to a provider, which take a second or less.

python -m tests.whole.impatient_hubd twilio [options of hubd]
"""

from __future__ import annotations

import sys

from hubd.__main__ import main
from hubd.core import reconcile
from hubd.engine import campaign
from hubd.inbound import reader
from hubd.providers.sendgrid import logs
from hubd.providers.twilio import walk

if __name__ == "__main__":
    match sys.argv.pop(1):
        case "twilio":
            reconcile.APART = 1.0
            reader.WHILE_SENDING = walk.SHORTEST = 0.5
        case "sendgrid":
            reconcile.APART = logs.APART = campaign.ASK_EVERY = 0.5
        case other:
            raise ValueError(other)
    main()
