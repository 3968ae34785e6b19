-- The answer to a command is written in the transaction that has its effect. What is too much for one transaction
-- goes page by page, and how far it has got is written with each page: `result` is '' until the last one.
-- A row with neither was begun, and not finished, by an earlier version. `arrived` is not used any more.
ALTER TABLE answer ADD COLUMN progress TEXT NOT NULL DEFAULT '';
