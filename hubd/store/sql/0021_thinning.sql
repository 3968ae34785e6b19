-- What was old enough to be thinned and had to wait: deliveries that were not finished, and replies that nobody had
-- decided about. `what` as in `thinning`, and 'inbox'; `id` is that of the delivery, or of the item.
CREATE TABLE thinning_left (
    what TEXT NOT NULL,
    id INTEGER NOT NULL,
    PRIMARY KEY (what, id)
) STRICT, WITHOUT ROWID;
-- Doubtful and unfinished ones that were passed over so far.
INSERT INTO thinning_left (what, id)
SELECT thinning.what, delivery.id
FROM thinning JOIN delivery INDEXED BY delivery_trouble
    ON delivery.campaign_id = thinning.campaign_id AND delivery.id <= thinning.after
WHERE delivery.state = 'in_doubt';

-- Finds an item by its key: mailboxes share theirs, because the same mail may come by another one.
CREATE INDEX inbox_key ON inbox (key);
