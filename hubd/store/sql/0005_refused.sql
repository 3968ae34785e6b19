-- Why a recipient who still waits was refused when the refusals paused the campaign; '' for anybody else. Who is
-- refused in the same way again after a resume fails on his own.
ALTER TABLE delivery ADD COLUMN refused TEXT NOT NULL DEFAULT '';
CREATE INDEX delivery_refused ON delivery (campaign_id, id) WHERE refused <> '';
