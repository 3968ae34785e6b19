-- What has not waited is found by `delivery_fresh`: each message would have to be removed from this index, too.
DROP INDEX delivery_due;
CREATE INDEX delivery_due ON delivery (campaign_id, id, next_at)
    WHERE next_at IS NOT NULL AND (state = 'pending' OR state = 'deferred');
