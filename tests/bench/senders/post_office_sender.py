"""django-post_office: queue personalised messages in SQLite, then send them with `send_queued`.

python post_office_sender.py PORT CA_FILE_OR_- CONNECTIONS MESSAGES CONTENT DATABASE
"""

import json
import os
import sys

import django
from django.conf import settings
from figures import Meter


def configure(port: int, ca_file: str, connections: int, database: str) -> None:
    if ca_file != "-":
        os.environ["SSL_CERT_FILE"] = ca_file  # Django's SMTP backend has no setting for it
    settings.configure(
        INSTALLED_APPS=["django.contrib.contenttypes", "post_office"],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": database,
                "OPTIONS": {"init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"},
            }
        },
        TEMPLATES=[
            {"BACKEND": "django.template.backends.django.DjangoTemplates"},
            {
                "BACKEND": "post_office.template.backends.post_office.PostOfficeTemplates",
                "NAME": "post_office",
            },
        ],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
        EMAIL_HOST="127.0.0.1" if ca_file == "-" else "localhost",
        EMAIL_PORT=port,
        EMAIL_USE_SSL=ca_file != "-",
        EMAIL_BACKEND="post_office.EmailBackend",
        POST_OFFICE={
            "BACKENDS": {"default": "django.core.mail.backends.smtp.EmailBackend"},
            "THREADS_PER_PROCESS": connections,
            "BATCH_SIZE": 1000,
            "BATCH_DELIVERY_TIMEOUT": 600,
            "LOG_LEVEL": 2,
        },
    )
    django.setup()


def main() -> None:
    port, ca_file, connections, messages, path, database = sys.argv[1:]
    with open(path, encoding="utf-8") as file:
        content = json.load(file)
    configure(int(port), ca_file, int(connections), database)
    from django.core.management import call_command
    from post_office import mail
    from post_office.models import STATUS, Email, EmailTemplate

    call_command("migrate", verbosity=0)
    template, _ = EmailTemplate.objects.get_or_create(
        name="bench",
        defaults={
            "subject": content["subject"],
            "content": content["text"],
            "html_content": content["html"],
        },
    )
    Email.objects.all().delete()
    meter = Meter()
    mail.send_many(
        [
            {
                "sender": content["sender"],
                "recipients": f"person{i}@example.com",
                "template": template,
                "context": {"first_name": f"Zoë {i}", "city": "Springfield"},
            }
            for i in range(int(messages))
        ]
    )
    mail.send_queued_mail_until_done(processes=1)
    meter.stop()
    sent = Email.objects.filter(status=STATUS.sent).count()
    if sent != int(messages):
        failed = Email.objects.exclude(status=STATUS.sent).first()
        log = failed.logs.first() if failed else None
        sys.exit(f"{sent} of {messages} were sent: {log.message if log else 'no reason is recorded'}")
    meter.print_figures(int(messages))


if __name__ == "__main__":
    main()
