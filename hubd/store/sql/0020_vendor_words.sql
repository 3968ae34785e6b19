-- The provider's own word for an error: some use numbers, some words. `vendor`, which had numbers only, is no
-- longer written: to drop it would write the whole table anew.
ALTER TABLE attempt ADD COLUMN vendor_word TEXT NOT NULL DEFAULT '';
UPDATE attempt SET vendor_word = CAST(vendor AS TEXT) WHERE vendor <> 0;
