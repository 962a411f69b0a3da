"""TRUNCATE fires no row trigger, so what is never deleted has a trigger of the statement as well."""

from django.db import migrations

TABLES = (
    "settlement_participant",
    "settlement_settlementaccount",
    "settlement_posting",
    "settlement_ledgerentry",
    "settlement_settlementinstruction",
    "settlement_reservation",
)

# A test suite empties tables between its tests: in a database whose name says so, and only when asked to.
FUNCTION = """
CREATE FUNCTION refuse_truncate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF starts_with(current_database(), 'test_') AND current_setting('clearing.may_truncate', true) = 'on' THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION '% is never emptied', TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation', CONSTRAINT = 'never_emptied';
END $$;
"""

TRIGGERS = "".join(
    f"CREATE TRIGGER never_emptied BEFORE TRUNCATE ON {table} EXECUTE FUNCTION refuse_truncate();\n"
    for table in TABLES
)
BACK = "".join(f"DROP TRIGGER never_emptied ON {table};\n" for table in TABLES)


class Migration(migrations.Migration):
    dependencies = [("settlement", "0004_corrections")]

    operations = [migrations.RunSQL(FUNCTION + TRIGGERS, BACK + "DROP FUNCTION refuse_truncate();")]
