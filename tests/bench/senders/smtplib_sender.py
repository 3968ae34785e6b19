"""smtplib in a loop: one connection, one EmailMessage and one durable SQLite commit for each message.

python smtplib_sender.py PORT CA_FILE_OR_- MESSAGES CONTENT DATABASE
"""

import json
import smtplib
import sqlite3
import ssl
import sys
from email.message import EmailMessage

from figures import Meter


def fill(template: str, number: int) -> str:
    return template.replace("{{ first_name }}", f"Zoë {number}").replace("{{ city }}", "Springfield")


def main() -> None:
    port, ca_file, messages, path, database_path = sys.argv[1:]
    with open(path, encoding="utf-8") as file:
        content = json.load(file)
    database = sqlite3.connect(database_path, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute("CREATE TABLE IF NOT EXISTS sent (address TEXT, state TEXT)")
    meter = Meter()
    if ca_file == "-":
        client = smtplib.SMTP("127.0.0.1", int(port))
    else:
        client = smtplib.SMTP_SSL("localhost", int(port), context=ssl.create_default_context(cafile=ca_file))
    with client:
        for i in range(int(messages)):
            message = EmailMessage()
            message["From"], message["To"] = content["sender"], f"person{i}@example.com"
            message["Subject"] = fill(content["subject"], i)
            message.set_content(fill(content["text"], i))
            message.add_alternative(fill(content["html"], i), subtype="html")
            client.send_message(message)
            database.execute("INSERT INTO sent VALUES (?, 'sent')", (f"person{i}@example.com",))
    meter.stop()
    database.close()
    meter.print_figures(int(messages))


if __name__ == "__main__":
    main()
