-- Finds one-off messages by their recipient: those that wait are cancelled when a contact is removed, and what the
-- others said of it is erased. Messages of campaigns are found by campaign and address.
CREATE INDEX delivery_single_recipient ON delivery (address_key) WHERE single = 1;

-- In which time zone the sending window is for a recipient who has none; '' for UTC.
ALTER TABLE campaign ADD COLUMN send_zone TEXT NOT NULL DEFAULT '';
