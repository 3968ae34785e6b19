-- Only what had to wait: the rest is found by `delivery_fresh`, and each message would have to be taken out of both.
DROP INDEX delivery_due;
CREATE INDEX delivery_due ON delivery (campaign_id, id, next_at)
    WHERE next_at IS NOT NULL AND (state = 'pending' OR state = 'deferred');
