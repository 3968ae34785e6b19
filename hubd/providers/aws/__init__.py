"""What Amazon SES, SNS and SQS have in common: signed requests, keys, names of errors. No kind by itself."""
