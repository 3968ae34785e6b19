"""Sample data for `hubctl demo`: people who do not exist, and two campaigns for them.

people      contacts as the rows of a CSV file
campaigns   a welcome mail and an SMS reminder, as campaign files
"""
