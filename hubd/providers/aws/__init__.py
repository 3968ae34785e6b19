"""What Amazon SES, SNS and SQS have in common: signed requests, keys, names of errors. Not a kind itself."""
