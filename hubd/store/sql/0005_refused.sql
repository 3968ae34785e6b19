-- Why a recipient was refused when the same refusals paused the campaign; '' otherwise. A recipient that is refused
-- in the same way again after a resume fails.
ALTER TABLE delivery ADD COLUMN refused TEXT NOT NULL DEFAULT '';
CREATE INDEX delivery_refused ON delivery (campaign_id, id) WHERE refused <> '';
