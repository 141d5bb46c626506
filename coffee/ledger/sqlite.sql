-- The ledger. Amounts are in cents, times in UTC, RFC 3339. The database itself
-- enforces what the code promises.

-- Which ledger this is, in one row: the version of its schema, and an id of its own.
CREATE TABLE ledger_schema (
    one       INTEGER NOT NULL PRIMARY KEY DEFAULT 1 CHECK (one = 1),
    version   INTEGER NOT NULL,
    ledger_id TEXT    NOT NULL CHECK (ledger_id <> '')
);

CREATE TRIGGER ledger_schema_forward BEFORE UPDATE ON ledger_schema
WHEN NEW.version <= OLD.version OR NEW.ledger_id <> OLD.ledger_id OR NEW.one <> OLD.one
BEGIN
    SELECT RAISE(ABORT, 'the version of a ledger moves forward only, and its id stays');
END;

CREATE TRIGGER ledger_schema_no_delete BEFORE DELETE ON ledger_schema
BEGIN
    SELECT RAISE(ABORT, 'the version of a ledger moves forward only, and its id stays');
END;

-- INSERT OR REPLACE deletes rows without firing the trigger on DELETE. That is why here
-- and below the triggers on INSERT also look for the row itself.
CREATE TRIGGER ledger_schema_once BEFORE INSERT ON ledger_schema
WHEN EXISTS (SELECT 1 FROM ledger_schema)
BEGIN
    SELECT RAISE(ABORT, 'the version of a ledger moves forward only, and its id stays');
END;

-- Whose orders it keeps, in one row, which is there since the first use.
CREATE TABLE ledger_owner (
    one          INTEGER NOT NULL PRIMARY KEY DEFAULT 1 CHECK (one = 1),
    namespace_id TEXT    NOT NULL CHECK (namespace_id <> ''),
    namespace    TEXT    NOT NULL
);

CREATE TRIGGER ledger_owner_no_update BEFORE UPDATE ON ledger_owner
BEGIN
    SELECT RAISE(ABORT, 'the owner of a ledger is never changed');
END;

CREATE TRIGGER ledger_owner_no_delete BEFORE DELETE ON ledger_owner
BEGIN
    SELECT RAISE(ABORT, 'the owner of a ledger is never changed');
END;

CREATE TRIGGER ledger_owner_once BEFORE INSERT ON ledger_owner
WHEN EXISTS (SELECT 1 FROM ledger_owner)
BEGIN
    SELECT RAISE(ABORT, 'the owner of a ledger is never changed');
END;

CREATE TABLE ledger_entries (
    order_id     TEXT   NOT NULL CHECK (order_id <> ''),
    kind         TEXT   NOT NULL CHECK (kind IN ('charge', 'refund', 'void')),
    amount_cents BIGINT NOT NULL,
    run_id       TEXT   NOT NULL CHECK (run_id <> ''),
    recorded_at  TEXT   NOT NULL,
    PRIMARY KEY (order_id, kind),
    CHECK (CASE kind WHEN 'void' THEN amount_cents = 0 ELSE amount_cents > 0 END)
);

CREATE TRIGGER ledger_entries_no_update BEFORE UPDATE ON ledger_entries
BEGIN
    SELECT RAISE(ABORT, 'ledger entries are never changed');
END;

CREATE TRIGGER ledger_entries_no_delete BEFORE DELETE ON ledger_entries
BEGIN
    SELECT RAISE(ABORT, 'ledger entries are never deleted');
END;

CREATE TRIGGER ledger_entries_first BEFORE INSERT ON ledger_entries
WHEN NEW.kind IN ('charge', 'void') AND EXISTS (SELECT 1 FROM ledger_entries WHERE order_id = NEW.order_id)
BEGIN
    SELECT RAISE(ABORT, 'a charge or a void is the first entry of its order');
END;

CREATE TRIGGER ledger_entries_refund BEFORE INSERT ON ledger_entries
WHEN NEW.kind = 'refund' AND (
    EXISTS (SELECT 1 FROM ledger_entries WHERE order_id = NEW.order_id AND kind <> 'charge')
    OR NOT EXISTS (
        SELECT 1 FROM ledger_entries
        WHERE order_id = NEW.order_id AND kind = 'charge' AND amount_cents = NEW.amount_cents AND run_id = NEW.run_id))
BEGIN
    SELECT RAISE(ABORT, 'a refund equals its charge, and there is one');
END;

-- The coffees that were handed out. Such an order has a charge that stands, and can
-- no longer be refunded.
CREATE TABLE ledger_deliveries (
    order_id    TEXT NOT NULL PRIMARY KEY CHECK (order_id <> ''),
    run_id      TEXT NOT NULL CHECK (run_id <> ''),
    recorded_at TEXT NOT NULL
);

CREATE TRIGGER ledger_deliveries_no_update BEFORE UPDATE ON ledger_deliveries
BEGIN
    SELECT RAISE(ABORT, 'deliveries are never changed');
END;

CREATE TRIGGER ledger_deliveries_no_delete BEFORE DELETE ON ledger_deliveries
BEGIN
    SELECT RAISE(ABORT, 'deliveries are never deleted');
END;

CREATE TRIGGER ledger_deliveries_paid BEFORE INSERT ON ledger_deliveries
WHEN EXISTS (SELECT 1 FROM ledger_deliveries WHERE order_id = NEW.order_id)
    OR EXISTS (SELECT 1 FROM ledger_entries WHERE order_id = NEW.order_id AND kind <> 'charge')
    OR NOT EXISTS (SELECT 1 FROM ledger_entries WHERE order_id = NEW.order_id AND kind = 'charge' AND run_id = NEW.run_id)
BEGIN
    SELECT RAISE(ABORT, 'a delivery has a charge that stands, and there is one');
END;

CREATE TRIGGER ledger_entries_delivered BEFORE INSERT ON ledger_entries
WHEN NEW.kind <> 'charge' AND EXISTS (SELECT 1 FROM ledger_deliveries WHERE order_id = NEW.order_id)
BEGIN
    SELECT RAISE(ABORT, 'a coffee that was handed out is not refunded');
END;
